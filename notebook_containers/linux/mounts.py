"""Mounts as descriptors: made detached, attached to an open target inside a root that the caller does not trust.

The order is always the same: :func:`create` gives a detached mount, :func:`open_target` resolves (and makes) the place inside the root
by openat2(2) so that no link leads out of it, :func:`attach` joins the two descriptors. No path is looked up twice, so nothing can be
swapped between (CVE-2021-30465, CVE-2025-31133). Linux 5.12. Standard library only. Failures are OSError.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterable

from notebook_containers.linux import syscalls

_ATIME_MASK, _NOATIME, _STRICTATIME, _NODIRATIME, _NOSYMFOLLOW = 0x70, 0x10, 0x20, 0x80, 0x200000
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_PATH_LIMIT = 200  # fsconfig(2) strings end at 256 bytes

# word of mount(8) → attributes set, attributes cleared
_ATTRIBUTES = {
    "ro": (syscalls.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, syscalls.MOUNT_ATTR_RDONLY),
    "nosuid": (syscalls.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, syscalls.MOUNT_ATTR_NOSUID),
    "nodev": (syscalls.MOUNT_ATTR_NODEV, 0),
    "dev": (0, syscalls.MOUNT_ATTR_NODEV),
    "noexec": (syscalls.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, syscalls.MOUNT_ATTR_NOEXEC),
    "nodiratime": (_NODIRATIME, 0),
    "diratime": (0, _NODIRATIME),
    "relatime": (0, _ATIME_MASK),
    "noatime": (_NOATIME, _ATIME_MASK),
    "strictatime": (_STRICTATIME, _ATIME_MASK),
    "atime": (0, _ATIME_MASK),
    "norelatime": (_STRICTATIME, _ATIME_MASK),
    "nostrictatime": (0, _ATIME_MASK),
    "nosymfollow": (_NOSYMFOLLOW, 0),
    "symfollow": (0, _NOSYMFOLLOW),
}
_PROPAGATION = {
    "private": syscalls.MS_PRIVATE,
    "slave": syscalls.MS_SLAVE,
    "shared": syscalls.MS_SHARED,
    "unbindable": syscalls.MS_UNBINDABLE,
}
_IGNORED = (
    *("defaults", "async", "auto", "noauto", "nofail", "user", "nouser", "silent", "loud", "remount"),
    *("noiversion", "nomand", "nolazytime", "notmpcopyup"),
)
WORDS = (
    *("bind", "rbind", *_ATTRIBUTES, *(f"r{word}" for word in _ATTRIBUTES), *_PROPAGATION, *(f"r{word}" for word in _PROPAGATION)),
    *(*_IGNORED, "dirsync", "lazytime", "sync", "tmpcopyup"),
)
"""Every word that is understood for any filesystem."""


class Options:
    """Mount option words, sorted: attribute bits, propagation, whether it is a (recursive) bind, and the filesystem's own words."""

    __slots__ = ("bind", "clear", "copy_up", "data", "everywhere", "propagation", "propagation_recursive", "recursive", "set", "subpath")

    def __init__(self, words: Iterable[str]) -> None:
        self.set = self.clear = self.propagation = 0
        self.bind = self.recursive = self.propagation_recursive = self.everywhere = self.copy_up = False
        self.data: list[str] = []
        self.subpath = ""
        for word in words:
            self._add(word)

    def _add(self, word: str) -> None:
        if word.startswith("subpath="):
            self.subpath = word.removeprefix("subpath=")
        elif word in ("bind", "rbind"):
            self.bind, self.recursive = True, word == "rbind"
        elif word in _ATTRIBUTES:
            self._attribute(word)
        elif word[:1] == "r" and word[1:] in _ATTRIBUTES:
            self._attribute(word[1:])
            self.everywhere = True
        elif word == "tmpcopyup":
            self.copy_up = True
        elif word.removeprefix("r") in _PROPAGATION:
            self.propagation_recursive = word.startswith("r")
            self.propagation = _PROPAGATION[word.removeprefix("r")]
        elif word and word not in _IGNORED:
            self.data.append(word)

    def _attribute(self, word: str) -> None:
        bits, cleared = _ATTRIBUTES[word]
        self.set, self.clear = self.set & ~cleared | bits, self.clear & ~bits | cleared


def create(fstype: str, source: str, words: Iterable[str]) -> int:
    """Return a detached mount: a bind of ``source`` when the words hold bind or rbind (or the type is bind), else a new filesystem.

    A recursive bind that is read-only is read-only in all its parts; the word ``subpath=a/b`` binds that place inside the source.
    Overlay takes ``lowerdir=a:b`` (a colon in a path is written
    ``\\:``) or repeated ``lowerdir+=a``, top first, in any number. The caller closes the descriptor.
    """
    options = Options(words)
    if options.bind or fstype == "bind":
        return _bind(source, options)
    context = syscalls.fsopen(fstype)
    try:
        if source:
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, "source", source)
        for word in options.data:
            _configure(context, fstype, word)
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
        return syscalls.fsmount(context, options.set)
    except OSError as err:
        old = _old_overlay(options) if fstype == "overlay" and err.errno == errno.EINVAL else -1
        if old >= 0:
            return old
        raise OSError(err.errno, _reason(context) or err.strerror, fstype) from err
    finally:
        os.close(context)


def _old_overlay(options: Options) -> int:
    """Return the mount as kernels before 6.5 take it, or -1 on a newer one."""
    from notebook_containers.linux import oldoverlay

    if not oldoverlay.needed():
        return -1
    lowers, others = oldoverlay.split(options.data)
    tree = oldoverlay.create(lowers, others, 0)
    try:
        change(tree, options)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _reason(context: int) -> str:
    # a filesystem context answers read(2) with its messages: "e overlay: ..."
    try:
        return os.read(context, 4096).decode(errors="replace").strip()
    except OSError:
        return ""


def _configure(context: int, fstype: str, word: str) -> None:
    key, equals, value = word.partition("=")
    if (fstype, word) == ("overlay", "redirect_dir=off"):
        # "off" still follows redirects that a layer brings, where the kernel is built so, and then clashes with userxattr
        value = "nofollow"
    if not equals:
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, key)
    elif fstype == "overlay" and key in ("lowerdir", "lowerdir+", "upperdir", "workdir"):
        for path in split_paths(value) if key == "lowerdir" else [value]:
            _configure_path(context, "lowerdir+" if key == "lowerdir" else key, path)
    else:
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key, value)


def _configure_path(context: int, key: str, path: str) -> None:
    if len(os.fsencode(path)) <= _PATH_LIMIT:
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key, path)
        return
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key, f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def split_paths(text: str) -> list[str]:
    r"""Split an overlay ``lowerdir`` at its colons; ``\:`` and ``\\`` are a colon and a backslash in a path."""
    if "\\" not in text:  # the usual case, and a hundred layers are many letters
        return text.split(":")
    paths, escaped = [""], False
    for letter in text:
        if escaped or letter not in "\\:":
            paths[-1] += letter
            escaped = False
        elif letter == "\\":
            escaped = True
        else:
            paths.append("")
    return paths


def _bind(source: str, options: Options) -> int:
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | (syscalls.AT_RECURSIVE if options.recursive else 0)
    tree = _open_below(source, options, flags) if options.subpath else syscalls.open_tree(syscalls.AT_FDCWD, source, flags)
    try:
        change(tree, options)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _open_below(source: str, options: Options, flags: int) -> int:
    """Bind a place inside ``source``, through no link: containers write there, and a link could lead anywhere on the host."""
    top = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_XDEV
        place = syscalls.openat2(top, options.subpath, os.O_PATH, resolve=resolve)
    finally:
        os.close(top)
    try:
        return syscalls.open_tree(place, "", flags | syscalls.AT_EMPTY_PATH)
    finally:
        os.close(place)


def change(tree: int, options: Options) -> None:
    """Give the mount ``tree`` the attributes and the propagation of ``options``."""
    everywhere = options.everywhere or (options.recursive and options.set)
    if options.set or options.clear:
        flags = syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if everywhere else 0)
        syscalls.mount_setattr(tree, "", flags, set_=options.set, clear=options.clear)
    if options.propagation:
        flags = syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if options.propagation_recursive else 0)
        syscalls.mount_setattr(tree, "", flags, propagation=options.propagation)


def show_owners(tree: int, user: int, *, recursive: bool = False) -> None:
    """Show the owners of the detached mount ``tree`` as the ids that the user namespace ``user`` (a descriptor) gives them outside.

    Linux 5.12; EINVAL where the file system cannot do it.
    """
    flags = syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if recursive else 0)
    syscalls.mount_setattr(tree, "", flags, set_=syscalls.MOUNT_ATTR_IDMAP, user=user)


def clone(fd: int, *, recursive: bool = False) -> int:
    """Return a detached copy of the mount at ``fd``, rooted there (open_tree(2)). The caller closes it."""
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if recursive else 0)
    return syscalls.open_tree(fd, "", flags)


def attach(tree: int, target: int) -> None:
    """Put the detached mount ``tree`` on the open ``target``."""
    syscalls.move_mount(tree, target, "", syscalls.MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)


def open_in_root(root: int, path: str, flags: int = os.O_PATH, *, links: bool = True) -> int:
    """Open ``path`` with ``root`` as its "/": links are followed inside it, never out; /proc's magic links never. The caller closes it.

    With ``links=False`` any symbolic link on the way is an error (ELOOP).
    """
    resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS | (0 if links else syscalls.RESOLVE_NO_SYMLINKS)
    for _ in range(128):
        try:
            return syscalls.openat2(root, path, flags, resolve=resolve)
        except OSError as err:
            if err.errno != errno.EAGAIN:  # the tree was renamed under the look-up: the kernel asks to try again
                raise
    raise OSError(errno.EAGAIN, "the path is renamed faster than it can be looked up", path)


def inside(path: str) -> str:
    """Return ``path`` as one absolute path without dots; a path's leading ``//`` (which normpath keeps) is one slash."""
    return posixpath.normpath("/" + path.lstrip("/"))


def open_target(root: int, path: str, *, directory: bool, links: bool = True) -> int:
    """Open ``path`` inside ``root`` as the place of a mount, made when missing: directories 0755, a file 0644. The caller closes it."""
    clean = inside(path)
    try:
        return open_in_root(root, clean, links=links)
    except FileNotFoundError:
        parent = open_target(root, posixpath.dirname(clean), directory=True, links=links)
    try:
        return _make(parent, posixpath.basename(clean), directory)
    finally:
        os.close(parent)


def _make(parent: int, name: str, directory: bool) -> int:
    if directory:
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            pass
    else:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=parent))
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def is_directory(fd: int) -> bool:
    """Tell whether ``fd`` is a directory."""
    return stat.S_ISDIR(os.fstat(fd).st_mode)

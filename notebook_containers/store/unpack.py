"""Entries of an archive become a tree: an overlay lower directory, or additions to a tree that exists."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from notebook_containers.errors import InvalidArgument, InvalidDocument
from notebook_containers.lean import dataclass
from notebook_containers.linux import syscalls
from notebook_containers.linux.delete import remove_tree
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store import attributes
from notebook_containers.store.tar_reader import Entry, TarReader

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_OPEN = 64
_MOST_WARNINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What an unpack did: number of entries, sum of file bytes, (mode, uid, gid) of the root when the archive gives it, warnings."""

    entries: int
    file_bytes: int
    root: tuple[int, int, int] | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How to unpack.

    ``layer``: names that begin with ``.wh.`` are deletions and become overlay's own form. ``single_id``: only one user id exists here,
    so owners cannot be kept (and devices not made). ``highest``: the last id that exists, None for all; who is beyond becomes root.
    ``owner``: give everything to this (uid, gid). ``userxattr``: overlay's attributes are in the user name space. ``keep_kinds``: a
    directory may not take the place of something else, nor the reverse.
    """

    layer: bool
    single_id: bool
    userxattr: bool = False
    owner: tuple[int, int] | None = None
    highest: int | None = None
    keep_kinds: bool = False


def unpack(reader: TarReader, root: SafeRoot, rules: Rules, *, below: str = "") -> Unpacked:
    """Unpack all entries in the directory ``below`` of ``root``.

    Others may change the tree meanwhile (a running container): every change is made by a parent's descriptor and a plain name, links are
    never followed out of ``root``, and a directory's owner and mode are set only while it is the one that was met.

    Raises InvalidDocument for an archive that tries to leave the root or contradicts itself, OSError for what the kernel refuses.
    The tree is then incomplete and is to be deleted.
    """
    unpacker = _Unpacker(reader, root, rules, [part for part in below.split("/") if part])
    try:
        for entry in reader:
            unpacker.add(entry)
        return unpacker.finish()
    finally:
        unpacker.close()


def clean_parts(name: str) -> list[str]:
    """Split a name into its components, leading slashes and dots dropped; raises InvalidDocument for ``..`` and overlong ones."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidDocument(f"the archive's entry {name[:80]!a} points outside")
    for part in parts:
        if len(part) > 63 and len(os.fsencode(part)) > 255:
            raise InvalidDocument(f"the archive's entry {name[:80]!a} has a component longer than 255 bytes")
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an entry goes: the parent's descriptor, the plain name in it, and the whole path."""

    parent: int
    name: str
    path: str


class _Unpacker:
    def __init__(self, reader: TarReader, root: SafeRoot, rules: Rules, below: list[str]) -> None:
        self._reader, self._root, self._rules, self._below = reader, root, rules, below
        self._open: dict[str, int] = {}
        self._directories: dict[str, Entry] = {}
        self._met: dict[str, tuple[int, int]] = {}
        self._whiteouts: set[str] = set()
        self._foreign: set[tuple[int, int]] = set()
        self._warnings: dict[str, None] = {}
        self._entries = 0
        self._top: tuple[int, int, int] | None = None
        self._makers: dict[str, Callable[[_Place, Entry], None]] = {
            "f": self._file,
            "d": self._directory,
            "l": self._symlink,
            "h": self._hardlink,
            "c": self._device,
            "b": self._device,
            "p": self._fifo,
        }

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def add(self, entry: Entry) -> None:
        self._entries += 1
        parts = clean_parts(entry.name)
        if not parts:
            self._root_entry(entry)
            return
        parts = self._below + parts
        path = "/".join(parts)
        if self._rules.layer and ".wh." in path and self._whiteout(parts):
            return
        parent = "/".join(parts[:-1])
        try:
            self._makers[entry.kind](_Place(parent=self._parent(parent), name=parts[-1], path=path), entry)
        except OSError as err:
            if err.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
                raise InvalidDocument(f"the archive's entry {path[:200]!a} lies below a link or a file") from err
            raise

    def finish(self) -> Unpacked:
        for path in sorted(self._directories, key=len, reverse=True):
            self._set_directory(path, self._directories[path])
        if self._foreign:
            some = ", ".join(f"{uid}:{gid}" for uid, gid in sorted(self._foreign)[:3])
            why = "an ordinary user has one id only" if self._rules.single_id else f"the ids that exist here end at {self._rules.highest}"
            self._warn(f"owners {'other than root ' if self._rules.single_id else ''}were not kept ({some}): {why}")
        return Unpacked(
            entries=self._entries, file_bytes=self._reader.total_bytes, root=self._top, warnings=tuple(self._warnings)[:_MOST_WARNINGS]
        )

    def _warn(self, text: str) -> None:
        if len(self._warnings) <= _MOST_WARNINGS:
            self._warnings[text] = None

    # directories on the way

    def _parent(self, path: str) -> int:
        fd = self._open.get(path)
        if fd is None:
            if len(self._open) >= _MOST_OPEN:
                oldest = next(iter(self._open))
                os.close(self._open.pop(oldest))
            try:
                fd = self._root.directory(path, create=True)
            except NotADirectoryError:
                if not self._revive(path):
                    raise
                fd = self._root.directory(path, create=True)
            self._open[path] = fd
        return fd

    def _revive(self, path: str) -> bool:
        """Turn a deletion on the way to ``path`` into an empty directory that hides what was below; say whether there was one."""
        parts = path.split("/")
        prefixes = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        dead = next((prefix for prefix in prefixes if prefix in self._whiteouts and _is_whiteout(self._root.lstat(prefix))), None)
        if dead is None:
            return False
        self._root.remove(dead)
        self._root.makedirs(dead)
        self._set_opaque(self._parent(dead))
        return True

    def _clear(self, place: _Place, entry: Entry) -> None:
        """Make room for another entry of the same name: the last one counts."""
        if self._rules.keep_kinds:
            self._check_kind(place, entry)
        if not self._rules.layer:
            _refuse_mount_point(place)
        for known in [p for p in self._open if p == place.path or p.startswith(place.path + "/")]:
            os.close(self._open.pop(known))
        self._directories.pop(place.path, None)
        remove_tree(place.parent, place.name)

    @staticmethod
    def _check_kind(place: _Place, entry: Entry) -> None:
        try:
            status = os.stat(place.name, dir_fd=place.parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode) != (entry.kind == "d"):
            kinds = ("a directory", "a file") if entry.kind == "d" else ("a file", "a directory")
            raise InvalidArgument(f"/{place.path[:200]} cannot become {kinds[0]}: it is {kinds[1]}", hint="remove it first")

    # what entries make

    def _file(self, place: _Place, entry: Entry) -> None:
        try:
            fd = os.open(place.name, _NEW_FILE, 0o600, dir_fd=place.parent)
        except FileExistsError:
            self._clear(place, entry)
            fd = os.open(place.name, _NEW_FILE, 0o600, dir_fd=place.parent)
        try:
            if entry.size:
                self._reader.copy_data(lambda piece: _write_all(fd, piece))
            self._own(fd, entry)
            os.fchmod(fd, entry.mode)
            if entry.xattrs:
                self._set_attributes(fd, place.path, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _directory(self, place: _Place, entry: Entry) -> None:
        self._directories[place.path] = entry
        try:
            os.mkdir(place.name, 0o700, dir_fd=place.parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(place.name, dir_fd=place.parent, follow_symlinks=False).st_mode):
                self._meet(place)
                return
            self._clear(place, entry)
            self._directories[place.path] = entry
            os.mkdir(place.name, 0o700, dir_fd=place.parent)
            if place.path in self._whiteouts:  # deleted below and made anew here: what lies below must stay hidden
                self._set_opaque(self._parent(place.path))
        self._meet(place)

    def _meet(self, place: _Place) -> None:
        """Remember which directory stands here: in a live tree another one, or a link, may stand here at the end."""
        if not self._rules.layer:
            status = os.stat(place.name, dir_fd=place.parent, follow_symlinks=False)
            self._met[place.path] = (status.st_dev, status.st_ino)

    def _symlink(self, place: _Place, entry: Entry) -> None:
        try:
            os.symlink(entry.link, place.name, dir_fd=place.parent)
        except FileExistsError:
            self._clear(place, entry)
            os.symlink(entry.link, place.name, dir_fd=place.parent)
        self._own_by_name(place.parent, place.name, entry)

    def _hardlink(self, place: _Place, entry: Entry) -> None:
        source = clean_parts(entry.link)
        source = self._below + source if source else source
        if not source or "/".join(source) == place.path:
            raise InvalidDocument(f"the archive's entry {place.path[:200]!a} is a hard link to itself")
        try:
            from_parent = self._root.open("/".join(source[:-1]), os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            raise self._no_target(place, entry) from None
        try:
            self._link(from_parent, source[-1], place, entry)
        finally:
            os.close(from_parent)

    def _link(self, from_parent: int, source: str, place: _Place, entry: Entry) -> None:
        try:
            status = os.stat(source, dir_fd=from_parent, follow_symlinks=False)
        except FileNotFoundError:
            raise self._no_target(place, entry) from None
        if stat.S_ISDIR(status.st_mode) or _is_whiteout(status):
            raise self._no_target(place, entry)
        try:
            os.link(source, place.name, src_dir_fd=from_parent, dst_dir_fd=place.parent, follow_symlinks=False)
        except FileExistsError:
            self._clear(place, entry)
            os.link(source, place.name, src_dir_fd=from_parent, dst_dir_fd=place.parent, follow_symlinks=False)

    def _no_target(self, place: _Place, entry: Entry) -> InvalidDocument:
        return InvalidDocument(f"the archive's hard link {place.path[:200]!a} leads to no file of the archive: {entry.link[:200]!a}")

    def _device(self, place: _Place, entry: Entry) -> None:
        if entry.kind == "c" and entry.device == (0, 0):  # overlay's own form of a deletion has no place in an archive
            self._warn(f"the device 0:0 at {place.path} was left out")
            return
        if self._rules.single_id:
            self._warn(f"the device {place.path} was left out: an ordinary user cannot make devices")
            return
        kind = stat.S_IFCHR if entry.kind == "c" else stat.S_IFBLK
        try:
            self._node(place, kind, os.makedev(*entry.device), entry)
        except PermissionError:
            self._warn(f"the device {place.path} was left out: this process may not make devices")

    def _fifo(self, place: _Place, entry: Entry) -> None:
        self._node(place, stat.S_IFIFO, 0, entry)

    def _node(self, place: _Place, kind: int, device: int, entry: Entry) -> None:
        try:
            os.mknod(place.name, kind | 0o600, device, dir_fd=place.parent)
        except FileExistsError:
            self._clear(place, entry)
            os.mknod(place.name, kind | 0o600, device, dir_fd=place.parent)
        self._own_by_name(place.parent, place.name, entry, chmod=True)

    # deletions

    def _whiteout(self, parts: list[str]) -> bool:
        """Turn a ``.wh.`` entry into overlay's form (image-spec layer.md, "Whiteouts"); say whether it was one."""
        *above, name = parts
        if any(part.startswith(".wh.") for part in above):
            if any(part.startswith(".wh..wh.") for part in above):
                return True
            raise InvalidDocument(f"the archive's entry {'/'.join(parts)[:200]!a} lies below a deletion")
        if not name.startswith(".wh."):
            return False
        hidden = name[4:]
        parent = self._parent_of_whiteout("/".join(above))
        if name == ".wh..wh..opq":
            self._set_opaque(parent)
        elif hidden in ("", ".", ".."):
            raise InvalidDocument(f"the archive deletes {'/'.join(parts)[:200]!a}, which is no name")
        elif not hidden.startswith(".wh."):  # .wh..wh.aufs, .wh..wh.plnk: aufs' own files, which nobody unpacks
            self._hide(parent, hidden, "/".join([*above, hidden]))
        return True

    def _parent_of_whiteout(self, path: str) -> int:
        try:
            return self._parent(path)
        except OSError as err:
            if err.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InvalidDocument(f"the archive deletes below {path[:200]!a}, which is a link or a file") from err
            raise

    def _hide(self, parent: int, name: str, path: str) -> None:
        self._whiteouts.add(path)
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        except FileExistsError:  # the name is in this layer too: only what lies below is deleted
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._set_opaque(self._parent(path))

    def _set_opaque(self, directory: int) -> None:
        os.setxattr(f"/proc/self/fd/{directory}", attributes.opaque_name(rootless=self._rules.userxattr), b"y")

    # owners, modes, times

    def _owner(self, entry: Entry) -> tuple[int, int]:
        owner = self._rules.owner or (entry.uid, entry.gid)
        if owner == (0, 0) or not self._missing(owner):
            return owner
        if len(self._foreign) < 100:
            self._foreign.add(owner)
        return 0, 0

    def _missing(self, owner: tuple[int, int]) -> bool:
        return self._rules.single_id or (self._rules.highest is not None and max(owner) > self._rules.highest)

    def _own(self, fd: int, entry: Entry) -> None:
        owner = self._owner(entry)
        if not self._rules.single_id and owner != (0, 0):
            os.fchown(fd, *owner)

    def _own_by_name(self, parent: int, name: str, entry: Entry, *, chmod: bool = False) -> None:
        owner = self._owner(entry)
        if not self._rules.single_id and owner != (0, 0):
            os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        if chmod:
            _set_mode(parent, name, entry.mode)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _set_attributes(self, fd: int, path: str, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            if not attributes.travels(name):
                continue
            try:
                os.setxattr(fd, name, value)
            except OSError as err:
                if err.errno in (errno.ENOTSUP, errno.EPERM):
                    self._warn(f"the attribute {name} was not kept: {os.strerror(err.errno)}")
                    continue
                raise InvalidDocument(f"the attribute {name[:80]!a} of {path[:200]!a} cannot be set: {err.strerror}") from err

    def _root_entry(self, entry: Entry) -> None:
        if entry.kind != "d":
            raise InvalidDocument("the archive's root is not a directory")
        if self._rules.layer:
            self._directories[""] = entry
            self._top = (entry.mode, *self._owner(entry))

    def _set_directory(self, path: str, entry: Entry) -> None:
        try:
            fd = self._root.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return  # a later entry put something else there
        try:
            status = os.fstat(fd)
            if self._met.get(path, (status.st_dev, status.st_ino)) != (status.st_dev, status.st_ino):
                return
            owner = self._owner(entry)
            if not self._rules.single_id:
                os.fchown(fd, *owner)
            # an ordinary user must still be able to walk its own store; inside the container root's rights see no difference
            os.fchmod(fd, entry.mode | 0o500 if self._rules.single_id else entry.mode)
            self._set_attributes(fd, path, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _refuse_mount_point(place: _Place) -> None:
    """Raise EBUSY where something is mounted: seen from another mount namespace, unlinking its place would unmount it (unlink(2))."""
    flags = os.O_PATH | os.O_NOFOLLOW
    try:
        os.close(syscalls.openat2(place.parent, place.name, flags, resolve=syscalls.RESOLVE_NO_XDEV | syscalls.RESOLVE_BENEATH))
    except OSError as err:
        if err.errno == errno.EXDEV:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), f"/{place.path}") from None
        if err.errno not in (errno.ENOSYS, errno.EPERM, errno.ENOENT, errno.EAGAIN):
            raise


def _set_mode(parent: int, name: str, mode: int) -> None:
    """Set the mode of what is not opened (a device, a FIFO): by a descriptor of it, as chmod(2) by name follows a link put there."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def _write_all(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]

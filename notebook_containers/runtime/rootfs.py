"""A container's file tree: the root's mounts, the Spec's mounts, devices, masks, and the pivot into it (config-linux.md).

Runs in init, inside the new mount namespace, before the pivot: the image is data that may lie, the host's paths are still there and
true. Every place inside the root is opened once, by descriptor, and never named again. Failures are OSError.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Container

from notebook_containers.linux import mounts, syscalls, sysctls
from notebook_containers.runtime import cgroupfs, copyup, document
from notebook_containers.runtime.document import Table

_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
)
_PROC_FILES = ("cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime", "slabinfo")
_HOST_PLACES = {"sysfs": "/sys", "proc": "/proc", "mqueue": "/dev/mqueue"}
_NEW = ("proc", "sysfs", "mqueue", "devpts", "tmpfs")
_READ_ONLY = mounts.Options(["ro"])


class Tree:
    """The tree under construction: descriptors of its root and of the mounts that later steps need."""

    __slots__ = ("dev", "mapped", "place", "proc", "pts", "root", "single")

    def __init__(self, root: int, *, place: str = "", mapped: bool, single: bool = False) -> None:
        self.root = root
        self.place = place  # the directory of the host that the root is mounted on
        self.single = single  # one id only
        self.mapped = mapped  # inside a user namespace: device nodes cannot be made, only bound
        self.dev = self.proc = self.pts = -1


def isolate(propagation: str) -> None:
    """Stop mounts made here from reaching the host; ``propagation`` is the Spec's rootfsPropagation, rslave when empty."""
    flags = {"private": syscalls.MS_PRIVATE, "slave": syscalls.MS_SLAVE, "unbindable": syscalls.MS_UNBINDABLE}
    syscalls.mount("", "/", "", syscalls.MS_REC | flags.get(propagation.removeprefix("r"), syscalls.MS_SLAVE))


def mount_root(path: str, entries: list[Table], *, mapped: bool, single: bool = False) -> Tree:
    """Mount the root filesystem on the directory ``path``: the entries of rootfs.json, or ``path`` itself when there are none."""
    root = -1
    for entry in entries or [{"type": "bind", "source": path, "options": ["rbind"]}]:
        tree = mounts.create(document.text(entry, "type"), document.text(entry, "source"), document.texts(entry, "options"))
        inside = document.text(entry, "destination").strip("/")
        if root >= 0 and inside:
            target = mounts.open_target(root, inside, directory=True)
        else:
            target = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            root = tree
        mounts.attach(tree, target)
        os.close(target)
    return Tree(root, place=path, mapped=mapped, single=single)


def open_root(entries: list[Table]) -> int:
    """Return the detached mount of a root that is one mount, for :func:`attach_root`; -1 for any other."""
    if len(entries) != 1:
        return -1
    (entry,) = entries
    return mounts.create(document.text(entry, "type"), document.text(entry, "source"), document.texts(entry, "options"))


def attach_root(path: str, root: int) -> Tree:
    """Put a root of :func:`open_root` on the directory ``path``."""
    target = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    mounts.attach(root, target)
    os.close(target)
    return Tree(root, place=path, mapped=False)


def take_root(tree: int) -> Tree:
    """Make a mount from outside the root: it is put over this namespace's own root, as no other directory can be reached."""
    target = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.attach(tree, target)
    os.close(target)
    return Tree(tree, mapped=True)


def bind_early(entries: list[Table], *, but: Container[int] = ()) -> dict[int, int]:
    """Return detached mounts, by the entry's number, of what must be bound before the host's mounts are cut off, ``but`` some.

    A bind that shares mounts with the host (``shared``, ``slave``) must be a copy of a mount that still does; and a source in another
    container's tree (``/proc/<pid>/root/…``) is copied inside that container's mount namespace, the only place where it can be.
    """
    found = {}
    for number, entry in enumerate(entries):
        source, words = document.text(entry, "source"), document.texts(entry, "options")
        if number in but:
            continue
        try:
            if source.startswith("/proc/") and "/root/" in source:
                found[number] = _borrow(source, words)
            elif any(word.removeprefix("r") in ("shared", "slave") for word in words):
                found[number] = mounts.create(document.text(entry, "type"), source, words)
        except OSError as err:
            raise OSError(err.errno, f"{document.text(entry, 'destination')} ({source}): {err.strerror}") from err
    return found


def make_filesystems(entries: list[Table]) -> dict[int, int]:
    """Return detached mounts of the new filesystems among the Spec's mounts that need its namespaces only, by their numbers."""
    found = {}
    for number, entry in enumerate(entries):
        kind = document.text(entry, "type")
        if kind in _NEW:
            found[number] = mounts.create(kind, document.text(entry, "source"), document.texts(entry, "options"))
    return found


def _borrow(source: str, words: list[str]) -> int:
    pid, _, path = source.removeprefix("/proc/").partition("/root/")
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    theirs = os.open(f"/proc/{int(pid)}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(theirs, syscalls.CLONE_NEWNS)
    try:
        # nothing of the other container's tree is believed: no link is followed, and only a mount of its own is taken
        resolve = syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
        place = syscalls.openat2(syscalls.AT_FDCWD, f"/{path}", os.O_PATH | os.O_DIRECTORY, resolve=resolve)
        tree = mounts.clone(place)
        os.close(place)
    finally:
        syscalls.setns(own, syscalls.CLONE_NEWNS)
        os.close(own)
        os.close(theirs)
    mounts.change(tree, mounts.Options(words))
    return tree


def mount_all(tree: Tree, entries: list[Table], early: dict[int, int]) -> None:
    """Mount the Spec's mounts in their order, those that were bound ``early`` too; an error names the destination."""
    for number, entry in enumerate(entries):
        destination = mounts.inside(document.text(entry, "destination"))
        try:
            _mount(tree, destination, entry, early.get(number, -1))
        except OSError as err:
            source = f" ({err.filename})" if err.filename and err.filename != destination else ""
            raise OSError(err.errno, f"{destination}{source}: {err.strerror}") from err


def _mount(tree: Tree, destination: str, entry: Table, early: int) -> None:
    kind, source = document.text(entry, "type"), document.text(entry, "source")
    words = [word for word in document.texts(entry, "options") if not (tree.single and _unmapped(word))]
    if kind == "cgroup":
        cgroupfs.mount(tree.root, destination, words)
        return
    new = early if early >= 0 else _create(kind, source, words, mapped=tree.mapped)
    if kind == "overlay" and (inside := mounts.Options(words).subpath):
        new = _part(tree, new, inside)
    target = mounts.open_target(tree.root, destination, directory=mounts.is_directory(new), links=kind not in ("proc", "sysfs"))
    _check_place(tree, destination, "proc" if source == "/proc" else kind, target, new)
    if "tmpcopyup" in words and kind == "tmpfs":
        copyup.fill(new, target, keep_mode=any(word.startswith("mode=") for word in words))
    mounts.attach(new, target)
    os.close(target)
    _remember(tree, destination, kind, new)


def _part(tree: Tree, new: int, inside: str) -> int:
    """Return the mount of a place in a new filesystem: links are followed in it, never out.

    Before Linux 6.15 only a mount that is attached can be cloned: it is attached over the root's mount point, which no later step names.
    """
    over = os.open(tree.place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    mounts.attach(new, over)
    try:
        found = mounts.open_in_root(new, inside)
        part = mounts.clone(found)
        os.close(found)
    finally:
        syscalls.umount2(tree.place, syscalls.MNT_DETACH)
        os.close(over)
        os.close(new)
    return part


def _unmapped(word: str) -> bool:
    # one mapped id: other owners cannot be expressed, the mount would be refused (EINVAL)
    return word.startswith(("gid=", "uid=")) and word[4:] != "0"


def _create(kind: str, source: str, words: list[str], *, mapped: bool) -> int:
    try:
        return mounts.create(kind, source, words)
    except OSError as err:
        if kind not in _HOST_PLACES or not mapped or err.errno not in (errno.EPERM, errno.EBUSY):
            raise
    # a new instance belongs to the owner of its namespace (sysfs: network, proc: pid); with the host's only a bind of it is possible
    mode = ["ro"] if kind == "sysfs" else []
    return mounts.create("bind", _HOST_PLACES[kind], ["rbind", *mode, "nosuid", "nodev", "noexec"])


def _check_place(tree: Tree, destination: str, kind: str, target: int, new: int) -> None:
    """Refuse places where a mount could redirect writes that init or the engine make to procfs (CVE-2025-52881)."""
    if destination == "/" or (destination == "/proc" and kind != "proc"):
        raise OSError(errno.EPERM, "nothing may be mounted there")
    if mounts.is_directory(new) != mounts.is_directory(target):
        raise OSError(errno.ENOTDIR, "a directory and a file cannot be mounted on each other")
    inside_proc = tree.proc >= 0 and os.fstat(target).st_dev == os.fstat(tree.proc).st_dev
    if (inside_proc or destination.startswith("/proc/")) and destination.removeprefix("/proc/") not in _PROC_FILES:
        raise OSError(errno.EPERM, "nothing may be mounted inside /proc")


def _remember(tree: Tree, destination: str, kind: str, new: int) -> None:
    if destination == "/proc":
        tree.proc = new
    elif destination == "/dev" and kind == "tmpfs":
        tree.dev = new
    elif kind == "devpts":
        tree.pts = new
    else:
        os.close(new)


def open_dev(tree: Tree) -> int:
    """Return the image's own /dev, made when missing, for a container that mounts nothing there."""
    return mounts.open_target(tree.root, "/dev", directory=True)


def make_devices(tree: Tree, extra: list[Table]) -> None:
    """Fill /dev with the usual nodes and links, then the Spec's devices; only when /dev is a fresh tmpfs of ours."""
    if tree.dev >= 0:
        for name, major, minor in _DEVICES:
            _device(tree.dev, name, stat.S_IFCHR | 0o666, os.makedev(major, minor), f"/dev/{name}", bind=tree.mapped)
        for value, name in _LINKS:
            if name == "core" and not os.path.exists("/proc/kcore"):
                continue
            try:
                os.symlink(value, name, dir_fd=tree.dev)
            except FileExistsError:
                continue
    for entry in extra:
        _spec_device(tree, entry)


def _device(directory: int, name: str, mode: int, number: int, host: str, *, bind: bool) -> None:
    try:
        if not bind:
            os.mknod(name, mode, number, dir_fd=directory)
            return
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=directory))
    except FileExistsError:
        return
    target = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    source = mounts.create("bind", host, ["bind"])
    mounts.attach(source, target)
    os.close(source)
    os.close(target)


def _spec_device(tree: Tree, entry: Table) -> None:
    path = mounts.inside(document.text(entry, "path"))
    kind = {"b": stat.S_IFBLK, "p": stat.S_IFIFO}.get(document.text(entry, "type"), stat.S_IFCHR)
    number = os.makedev(document.number(entry, "major"), document.number(entry, "minor"))
    parent = mounts.open_target(tree.root, posixpath.dirname(path), directory=True)
    name = posixpath.basename(path)
    _device(parent, name, kind | document.number(entry, "fileMode", 0o666), number, path, bind=tree.mapped)
    if not tree.mapped:
        os.chown(name, document.number(entry, "uid"), document.number(entry, "gid"), dir_fd=parent, follow_symlinks=False)
    os.close(parent)


def bind_console(tree: Tree, slave: int) -> None:
    """Show our own terminal as /dev/console: the descriptor, not a path, decides what is bound (CVE-2025-52565)."""
    if tree.dev < 0:
        return
    try:
        os.close(os.open("console", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=tree.dev))
    except FileExistsError:
        pass  # of an earlier run, when /dev is the image's own directory
    target = os.open("console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree.dev)
    source = mounts.clone(slave)
    mounts.attach(source, target)
    os.close(source)
    os.close(target)


def protect(tree: Tree, masked: list[str], readonly: list[str]) -> None:
    """Hide ``masked`` paths (a file under the host's null device, a directory under an empty tmpfs) and bind ``readonly`` ones read-only.

    Paths that do not exist are skipped. The null device is the host's and is checked: what the image calls /dev/null is not asked
    (CVE-2025-31133).
    """
    for path in readonly:
        target = _existing(tree.root, path)
        if target >= 0:
            _cover(mounts.clone(target, recursive=True), target, read_only=True)
    null, empty = _null_device(), -1
    for path in masked:
        target = _existing(tree.root, path)
        if target < 0:
            continue
        if not mounts.is_directory(target):
            _cover(mounts.clone(null), target, read_only=False)
        elif empty >= 0:
            _cover(mounts.clone(empty), target, read_only=False)
        else:
            # the first directory gets the tmpfs itself: before Linux 6.15 only a mount that is attached can be cloned
            empty = mounts.create("tmpfs", "tmpfs", ["ro", "nosuid", "nodev", "noexec", "size=0k", "mode=755"])
            mounts.attach(empty, target)
            os.close(target)
    for fd in {null, empty} - {-1}:
        os.close(fd)


def _null_device() -> int:
    null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    found = os.fstat(null)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
        raise OSError(errno.ENODEV, "the host's /dev/null is not the null device", "/dev/null")
    return null


def _existing(root: int, path: str) -> int:
    try:
        return mounts.open_in_root(root, path)
    except OSError as err:
        if err.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            return -1
        raise


def _cover(new: int, target: int, *, read_only: bool) -> None:
    if read_only:
        mounts.change(new, _READ_ONLY)
    mounts.attach(new, target)
    os.close(new)
    os.close(target)


def make_readonly(tree: Tree) -> None:
    """Make the root itself read-only; mounts inside it keep their own mode."""
    mounts.change(tree.root, _READ_ONLY)


def write_sysctls(tree: Tree, settings: Table, *, own: frozenset[str]) -> None:
    """Set kernel settings that belong to the namespaces ``own``, through our own procfs; any other name is refused (EPERM)."""
    for key in settings:
        path = sysctls.path(key)
        if sysctls.namespace(path) not in own:
            raise OSError(errno.EPERM, "the setting is not the container's own", key)
        try:
            _write_sysctl(tree.proc, path, document.text(settings, key))
        except OSError as err:
            raise OSError(err.errno, f"{key}: {os.strerror(err.errno or 0)}") from err


def _write_sysctl(proc: int, path: str, value: str) -> None:
    flags = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_XDEV
    fd = syscalls.openat2(proc, f"sys/{path}", os.O_WRONLY, resolve=flags)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def enter(tree: Tree) -> None:
    """Make the tree this mount namespace's root and let go of the old one: no path and no descriptor leads back."""
    os.fchdir(tree.root)
    syscalls.pivot_root(".", ".")
    # pivot_root(2): with both names ".", the old root is now mounted over the new one, at the current directory
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")
    for fd in {tree.root, tree.dev, tree.proc, tree.pts} - {-1}:
        os.close(fd)

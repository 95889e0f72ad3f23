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
from notebook_containers.store.deletions import Deletions
from notebook_containers.store.keeping import Keeping, Rules, Warnings
from notebook_containers.store.merged import is_whiteout
from notebook_containers.store.parents import Parents
from notebook_containers.store.sparse import SparseFile
from notebook_containers.store.tar_reader import Entry, TarReader

__all__ = ["Rules", "Unpacked", "clean_parts", "unpack"]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What an unpack did: number of entries, sum of file bytes, (mode, uid, gid) of the root when the archive gives it, warnings."""

    entries: int
    file_bytes: int
    root: tuple[int, int, int] | None
    warnings: tuple[str, ...]


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
        self._warnings = Warnings()
        self._keeping = Keeping(rules, self._warnings)
        self._parents = Parents(root)
        self._deletions = Deletions(root, self._parents, userxattr=rules.userxattr)
        self._parents.revive = self._deletions.revive
        self._directories: dict[str, Entry] = {}
        self._met: dict[str, tuple[int, int]] = {}
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
        self._parents.close()

    def add(self, entry: Entry) -> None:
        self._entries += 1
        parts = clean_parts(entry.name)
        if not parts:
            self._root_entry(entry)
            return
        parts = self._below + parts
        path = "/".join(parts)
        if self._rules.layer and ".wh." in path and self._deletions.take(parts):
            return
        parent = "/".join(parts[:-1])
        try:
            self._makers[entry.kind](_Place(parent=self._parents.get(parent), name=parts[-1], path=path), entry)
        except OSError as err:
            if err.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
                raise InvalidDocument(f"the archive's entry {path[:200]!a} lies below a link or a file") from err
            if err.errno == errno.EMLINK:
                raise InvalidDocument(f"the archive has more links to one file than this file system allows: {path[:200]!a}") from err
            raise

    def finish(self) -> Unpacked:
        for path in sorted(self._directories, key=len, reverse=True):
            self._set_directory(path, self._directories[path])
        self._keeping.finish()
        return Unpacked(entries=self._entries, file_bytes=self._reader.total_bytes, root=self._top, warnings=self._warnings.all())

    def _clear(self, place: _Place, entry: Entry) -> None:
        """Make room for another entry of the same name: the last one counts."""
        if self._rules.keep_kinds:
            self._check_kind(place, entry)
        if not self._rules.layer:
            _refuse_mount_point(place)
        self._parents.forget(place.path)
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
                file = SparseFile(fd)
                self._reader.copy_data(file.write)
                file.finish()
            self._keeping.file(fd, place.path, entry)
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
            self._deletions.made_anew(place.path)
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
        self._keeping.by_name(place.parent, place.name, entry)

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
        if stat.S_ISDIR(status.st_mode) or is_whiteout(status):
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
            self._warnings.add(f"the device 0:0 at {place.path} was left out")
            return
        if self._rules.single_id:
            self._warnings.add(f"the device {place.path} was left out: an ordinary user cannot make devices")
            return
        kind = stat.S_IFCHR if entry.kind == "c" else stat.S_IFBLK
        try:
            self._node(place, kind, os.makedev(*entry.device), entry)
        except PermissionError:
            self._warnings.add(f"the device {place.path} was left out: this process may not make devices")

    def _fifo(self, place: _Place, entry: Entry) -> None:
        self._node(place, stat.S_IFIFO, 0, entry)

    def _node(self, place: _Place, kind: int, device: int, entry: Entry) -> None:
        try:
            os.mknod(place.name, kind | 0o600, device, dir_fd=place.parent)
        except FileExistsError:
            self._clear(place, entry)
            os.mknod(place.name, kind | 0o600, device, dir_fd=place.parent)
        self._keeping.by_name(place.parent, place.name, entry, chmod=True)

    def _root_entry(self, entry: Entry) -> None:
        if entry.kind != "d":
            raise InvalidDocument("the archive's root is not a directory")
        if self._rules.layer or self._rules.whole:
            self._directories[""] = entry
            self._top = (entry.mode, *self._keeping.owner(entry))

    def _set_directory(self, path: str, entry: Entry) -> None:
        try:
            fd = self._root.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return  # a later entry put something else there
        try:
            status = os.fstat(fd)
            if self._met.get(path, (status.st_dev, status.st_ino)) == (status.st_dev, status.st_ino):
                self._keeping.directory(fd, path, entry)
        finally:
            os.close(fd)


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

"""Copies files between two trees by descriptors: twenty thousand small ones should cost system calls, not Python."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from notebook_containers.errors import InvalidArgument, NotFound
from notebook_containers.lean import dataclass
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store import attributes, modes
from notebook_containers.store.held import Piece, Ready

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SMALL = 128 * 1024
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY, errno.EBADF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Owner and mode of copies: None keeps the source's. ``single_id``: only root exists here, owners are not set."""

    uid: int | None
    gid: int | None
    mode: int | str | None
    single_id: bool
    devices: bool


def copy_tree(
    source: tuple[SafeRoot, str], target: tuple[SafeRoot, str], ownership: Ownership, *, skip: Collection[str] = (),
    ready: Ready | None = None,
) -> None:  # fmt: skip
    """Copy as :class:`.operations.CopyTree` says. NotFound when the source is missing; InvalidArgument when a file and a directory meet."""
    (root, path), (target_root, destination) = source, target
    copier = _Copier(target_root, ownership, frozenset(skip), ready or {})
    name = path.rstrip("/").rpartition("/")[2]
    if ready and "" in ready:
        copier.one_held(ready[""], name, destination)
        return
    try:
        fd = root.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError) as err:
        raise NotFound(f"{path} is not there") from err
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            copier.contents(fd, destination)
        else:
            copier.one_file(fd, name, destination)
    finally:
        os.close(fd)


def make_directories(root: SafeRoot, path: str, *, owner: tuple[int, int], mode: int = 0o755) -> None:
    """Make a directory with ``mode`` and its missing parents with 0755, all with ``owner``; what exists stays."""
    made = root.makedirs(path)
    for directory in made:
        fd = root.open(directory, _DIRECTORY)
        try:
            if owner != (0, 0):
                os.fchown(fd, *owner)
            if directory == made[-1] and mode != 0o755:
                os.fchmod(fd, mode)
        finally:
            os.close(fd)


def file_target(root: SafeRoot, destination: str, name: str) -> str:
    """Return where a file called ``name`` goes: into ``destination`` when that is a directory or ends in a slash, else there itself."""
    plain = destination.rstrip("/")
    if destination.endswith("/") or not plain:
        return f"{plain}/{name}"
    try:
        os.close(root.open(plain, os.O_PATH | os.O_DIRECTORY))
    except (FileNotFoundError, NotADirectoryError):
        return plain
    return f"{plain}/{name}"


class _Copier:
    def __init__(self, target: SafeRoot, ownership: Ownership, skip: frozenset[str], ready: Ready) -> None:
        self._target, self._ownership, self._skip = target, ownership, skip
        self._ready = ready
        owner = (ownership.uid or 0, ownership.gid or 0)
        self._made_owner = (0, 0) if ownership.single_id else owner

    def one_file(self, fd: int, name: str, destination: str) -> None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidArgument(f"{name} is neither a file nor a directory")
        with self._place(name, destination) as (parent, last):
            self._file(fd, status, parent, last)

    def one_held(self, piece: Piece, name: str, destination: str) -> None:
        with self._place(name, destination) as (parent, last):
            self._held(piece, parent, last)

    @contextmanager
    def _place(self, name: str, destination: str) -> Iterator[tuple[int, str]]:
        path = file_target(self._target, destination, name)
        make_directories(self._target, path.rpartition("/")[0], owner=self._made_owner)
        with self._target.parent(path) as place:
            yield place

    def contents(self, fd: int, destination: str) -> None:
        make_directories(self._target, destination, owner=self._made_owner)
        source = SafeRoot(os.dup(fd))
        base = destination.strip("/")
        todo = [""]
        times: list[tuple[str, int]] = []
        try:
            while todo:
                below = todo.pop()
                todo.extend(self._directory(source, below, f"{base}/{below}", times))
            for path, mtime_ns in reversed(times):
                self._set_time(path, mtime_ns)
        finally:
            source.close()

    def _directory(self, source: SafeRoot, below: str, path: str, times: list[tuple[str, int]]) -> list[str]:
        from_fd = source.open(below, _DIRECTORY | os.O_NOFOLLOW)
        try:
            to_fd = self._target.open(path, _DIRECTORY)
            try:
                return self._entries(from_fd, to_fd, f"{below}/" if below else "", path, times)
            finally:
                os.close(to_fd)
        finally:
            os.close(from_fd)

    def _entries(self, from_fd: int, to_fd: int, prefix: str, path: str, times: list[tuple[str, int]]) -> list[str]:
        directories = []
        with os.scandir(from_fd) as entries:
            for entry in entries:
                name = entry.name
                if self._skip and prefix + name in self._skip:
                    continue
                piece = self._ready.get(prefix + name) if self._ready else None
                if piece is not None:
                    self._held(piece, to_fd, name)
                elif entry.is_file(follow_symlinks=False):
                    fd = os.open(name, _READ, dir_fd=from_fd)
                    try:
                        status = os.fstat(fd)
                        if stat.S_ISREG(status.st_mode):  # it may have become a FIFO since it was listed
                            self._file(fd, status, to_fd, name)
                    finally:
                        os.close(fd)
                elif entry.is_dir(follow_symlinks=False):
                    if self._make_directory(from_fd, to_fd, name):
                        status = entry.stat(follow_symlinks=False)
                        times.append((f"{path}/{name}", status.st_mtime_ns))
                    directories.append(prefix + name)
                else:
                    self._special(from_fd, to_fd, name, entry.stat(follow_symlinks=False))
        return directories

    def _file(self, source: int, status: os.stat_result, parent: int, name: str) -> None:
        fd = _create(parent, name)
        try:
            _copy_bytes(source, fd, status.st_size)
            self._finish(source, fd, status)
            os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(fd)

    def _held(self, piece: Piece, parent: int, name: str) -> None:
        fd = _create(parent, name)
        try:
            _write(fd, piece.content)
            self._give(fd, (self._ownership.uid or 0, self._ownership.gid or 0), piece.mode, piece.xattrs)
            os.utime(fd, ns=(piece.mtime_ns, piece.mtime_ns))
        finally:
            os.close(fd)

    def _owner(self, status: os.stat_result) -> tuple[int, int]:
        own = self._ownership
        if own.single_id:
            return 0, 0
        return (status.st_uid if own.uid is None else own.uid, status.st_gid if own.gid is None else own.gid)

    def _mode(self, mode: int) -> int:
        wanted = self._ownership.mode
        if isinstance(wanted, str):
            return modes.change(wanted, mode)
        return stat.S_IMODE(mode) if wanted is None else wanted

    def _finish(self, source: int, fd: int, status: os.stat_result) -> None:
        names = attributes.names(source)
        self._give(fd, self._owner(status), status.st_mode, attributes.read(source, names) if names else {})

    def _give(self, fd: int, owner: tuple[int, int], mode: int, xattrs: Mapping[str, bytes]) -> None:
        if owner != (0, 0) and not self._ownership.single_id:
            os.fchown(fd, *owner)
        os.fchmod(fd, self._mode(mode))
        for key, value in xattrs.items():
            try:
                os.setxattr(fd, key, value)
            except OSError as err:
                if err.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise

    def _make_directory(self, from_fd: int, to_fd: int, name: str) -> bool:
        try:
            os.mkdir(name, 0o700, dir_fd=to_fd)
        except FileExistsError:
            fd = self._existing_directory(to_fd, name)
            if fd < 0:
                return False
        else:
            fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=to_fd)
        try:
            source = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=from_fd)
            try:
                self._finish(source, fd, os.fstat(source))
            finally:
                os.close(source)
        finally:
            os.close(fd)
        return True

    def _existing_directory(self, to_fd: int, name: str) -> int:
        """Open a directory that is there already; -1 for a link, which is gone through when its contents are copied."""
        status = os.stat(name, dir_fd=to_fd, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            return -1
        if not stat.S_ISDIR(status.st_mode):
            raise InvalidArgument(f"the directory {name} cannot take the place of a file of that name")
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=to_fd)

    def _special(self, from_fd: int, to_fd: int, name: str, status: os.stat_result) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            text = os.readlink(name, dir_fd=from_fd)
            try:
                os.symlink(text, name, dir_fd=to_fd)
            except FileExistsError:
                _make_room(to_fd, name)
                os.symlink(text, name, dir_fd=to_fd)
        elif kind == stat.S_IFIFO or (self._ownership.devices and kind in (stat.S_IFCHR, stat.S_IFBLK) and status.st_rdev):
            try:
                os.mknod(name, status.st_mode, status.st_rdev, dir_fd=to_fd)
            except FileExistsError:
                _make_room(to_fd, name)
                os.mknod(name, status.st_mode, status.st_rdev, dir_fd=to_fd)
            os.chmod(name, self._mode(status.st_mode), dir_fd=to_fd)
        else:
            return  # sockets, and devices of this machine
        if (owner := self._owner(status)) != (0, 0):
            os.chown(name, *owner, dir_fd=to_fd, follow_symlinks=False)
        os.utime(name, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=to_fd, follow_symlinks=False)

    def _set_time(self, path: str, mtime_ns: int) -> None:
        fd = self._target.open(path, _DIRECTORY)
        try:
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)


def _create(parent: int, name: str) -> int:
    """Make a file, in place of what has its name, and return it open for writing."""
    try:
        return os.open(name, _NEW, 0o600, dir_fd=parent)
    except FileExistsError:
        _make_room(parent, name)
        return os.open(name, _NEW, 0o600, dir_fd=parent)


def _make_room(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError as err:
        raise InvalidArgument(f"the file {name} cannot take the place of a directory of that name") from err


def _copy_bytes(source: int, target: int, size: int) -> None:
    if size > _SMALL and _copy_in_kernel(source, target, size):
        return
    while piece := os.read(source, _SMALL):
        _write(target, piece)
        if len(piece) < _SMALL and size < _SMALL:
            return


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def _copy_in_kernel(source: int, target: int, size: int) -> bool:
    """Copy by copy_file_range (shares blocks where the file system can); False when the kernel cannot, with nothing copied."""
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(source, target, size - done)
        except OSError as err:
            if done == 0 and err.errno in _CANNOT:
                return False
            raise
        if count == 0:
            return done > 0
        done += count
    return True

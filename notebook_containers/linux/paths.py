"""SafeRoot: every access inside a tree that somebody else wrote (layer, snapshot, build context) goes through its root's descriptor.

Paths are relative to that root whatever they begin with, and are resolved by the kernel (openat2, Linux 5.6), never by joining text:
``realpath`` and ``open`` by name lose against a process that swaps directories for links. Changes are made by the ``*at`` calls on
the parent's descriptor and one plain name. Where openat2 is missing or forbidden a walker opens one component at a time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Self

from notebook_containers.linux import syscalls
from notebook_containers.linux.delete import remove_tree
from notebook_containers.linux.resolve import walk_open

_RETRIES = 4096
_STRICT = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_FOLLOW = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS


@cache
def have_openat2() -> bool:
    """Say whether this kernel (and its seccomp filter) lets us call openat2."""
    try:
        os.close(syscalls.openat2(syscalls.AT_FDCWD, ".", os.O_PATH, resolve=_STRICT))
    except OSError as err:
        return err.errno not in (errno.ENOSYS, errno.EPERM)
    return True


class SafeRoot:
    """A directory that paths cannot leave; owns ``fd`` and closes it.

    ``follow=False``: symbolic links are errors (ELOOP) and ``..`` above the root too (EXDEV): the store's own trees.
    ``follow=True``: links are followed as a process chrooted there would see them (``/var/run -> /run`` stays inside).
    All failures are OSError.
    """

    __slots__ = ("_kernel", "fd", "follow")

    def __init__(self, fd: int, *, follow: bool = False, openat2: bool | None = None) -> None:
        self.fd = fd
        self.follow = follow
        self._kernel = have_openat2() if openat2 is None else openat2

    @classmethod
    def at(cls, path: str | os.PathLike[str], *, follow: bool = False, openat2: bool | None = None) -> Self:
        """Open the directory at a path that only we (or the user who named it) can change."""
        return cls(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), follow=follow, openat2=openat2)

    def close(self) -> None:
        """Close the root's descriptor; may be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """Open a path inside the root as open(2) would; the descriptor is close-on-exec."""
        plain = path.lstrip("/") or "."
        if "\0" in plain:
            raise OSError(errno.EINVAL, "a path with a NUL byte", path)
        if not self._kernel:
            return walk_open(self.fd, plain, flags, mode, follow=self.follow)
        mode = mode if flags & (os.O_CREAT | os.O_TMPFILE) else 0
        for _ in range(_RETRIES):
            try:
                return syscalls.openat2(self.fd, plain, flags, mode=mode, resolve=_FOLLOW if self.follow else _STRICT)
            except OSError as err:  # EAGAIN: a rename elsewhere in the tree made the kernel unsure (openat2(2))
                if err.errno != errno.EAGAIN:
                    raise
        raise OSError(errno.EAGAIN, "openat2: the tree keeps changing", path)

    def directory(self, path: str, *, create: bool = False, mode: int = 0o755) -> int:
        """Return an O_PATH descriptor of a directory; with ``create`` missing parents and itself are made with ``mode``."""
        try:
            return self.open(path, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            if not create:
                raise
        self.makedirs(path, mode)
        return self.open(path, os.O_PATH | os.O_DIRECTORY)

    @contextmanager
    def parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Yield the descriptor of the parent directory and the plain last name; raises EINVAL for the root itself, ``.`` and ``..``."""
        head, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, "not a name inside the root", path)
        fd = self.directory(head, create=create)
        try:
            yield fd, name
        finally:
            os.close(fd)

    def makedirs(self, path: str, mode: int = 0o755) -> list[str]:
        """Make a directory and its missing parents; return those that were made, outermost first. An existing directory is fine."""
        made: list[str] = []
        done = ""
        for part in [p for p in path.split("/") if p not in ("", ".")]:
            done = f"{done}/{part}"
            try:
                os.close(self.open(done, os.O_PATH | os.O_DIRECTORY))
            except FileNotFoundError:
                with self.parent(done) as (fd, name):
                    try:
                        os.mkdir(name, 0o700, dir_fd=fd)
                    except FileExistsError:  # somebody else made it, or a link that leads to nothing
                        os.close(self.open(done, os.O_PATH | os.O_DIRECTORY))
                        continue
                    self._set_mode(fd, name, mode)
                made.append(done)
        return made

    def _set_mode(self, fd: int, name: str, mode: int) -> None:
        new = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        try:
            os.fchmod(new, mode)
        finally:
            os.close(new)

    def lstat(self, path: str) -> os.stat_result:
        """Return the status of a path; its last component is not followed."""
        fd = self.open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def exists(self, path: str) -> bool:
        """Say whether the path leads to something (a dangling link counts)."""
        try:
            self.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def readlink(self, path: str) -> str:
        """Return a symbolic link's text."""
        with self.parent(path) as (fd, name):
            return os.readlink(name, dir_fd=fd)

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a regular file's bytes; EINVAL for anything else (a FIFO must not hang us), EFBIG when it is longer."""
        fd = self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise OSError(errno.EFBIG, f"more than {max_bytes} bytes", path)
        return data

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Put a new regular file at ``path``, whatever non-directory stood there; parents must exist. A link is replaced, not followed."""
        with self.parent(path) as (fd, name):
            new = create_file(fd, name, mode)
            with os.fdopen(new, "wb") as file:
                file.write(data)

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link; its text is kept as it is."""
        with self.parent(path) as (fd, name):
            os.symlink(target, name, dir_fd=fd)

    def link(self, source: str, path: str) -> None:
        """Make a hard link to ``source`` (itself, if that is a symbolic link)."""
        with self.parent(source) as (from_fd, from_name), self.parent(path) as (fd, name):
            os.link(from_name, name, src_dir_fd=from_fd, dst_dir_fd=fd, follow_symlinks=False)

    def rename(self, source: str, path: str, flags: int = 0) -> None:
        """Rename inside the root; ``flags`` as renameat2's."""
        with self.parent(source) as (from_fd, from_name), self.parent(path) as (fd, name):
            syscalls.renameat2(from_fd, from_name, fd, name, flags)

    def remove(self, path: str) -> None:
        """Delete a path and all below it; never crosses a mount (EXDEV); nothing there is fine."""
        try:
            with self.parent(path) as (fd, name):
                remove_tree(fd, name, openat2=self._kernel)
        except (FileNotFoundError, NotADirectoryError):
            return


def create_file(directory: int, name: str, mode: int) -> int:
    """Return a new regular file open for writing, in the place of any non-directory of that name; its mode is exactly ``mode``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, 0o600, dir_fd=directory)
    except FileExistsError:
        os.unlink(name, dir_fd=directory)
        fd = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        os.fchmod(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd

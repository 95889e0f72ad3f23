"""What overlayfs would show of a stack of layers, without mounting it: look-ups for diffs, and for reading one file such as /etc/passwd."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from notebook_containers.store.attributes import opaque_name

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40


def is_whiteout(status: os.stat_result) -> bool:
    """Say whether this is overlay's mark of a deletion: a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(fd: int, *, userxattr: bool) -> bool:
    """Say whether a directory hides what lies below it."""
    try:
        return os.getxattr(f"/proc/self/fd/{fd}", opaque_name(rootless=userxattr)) == b"y"
    except OSError as err:
        if err.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        # a user's attributes can be read by whoever may read the directory: another owner's closed one keeps what it says to itself
        if err.errno in (errno.EACCES, errno.EPERM) and not (userxattr and os.fstat(fd).st_uid != os.geteuid()):
            return False
        raise


def visible(trees: Sequence[Path], hides: Callable[[Path], bool]) -> tuple[Path, ...]:
    """Return the trees from the topmost one on whose root ``hides`` all below: overlayfs does not ask a layer's root that."""
    for index in range(len(trees) - 1, 0, -1):
        if hides(trees[index]):
            return tuple(trees[index:])
    return tuple(trees)


def hides_all(tree: Path, *, userxattr: bool) -> bool:
    """Say whether a tree's root hides all trees below."""
    root = os.open(tree, _DIRECTORY)
    try:
        return is_opaque(root, userxattr=userxattr)
    finally:
        os.close(root)


def says_nothing_of(tree: Path, path: str, *, userxattr: bool) -> bool:
    """Say whether it is certain that a topmost tree changes nothing at a path on which no link stands."""
    try:
        root = os.open(tree, _DIRECTORY)
    except OSError:
        return False
    try:
        os.stat(path.strip("/").split("/")[0], dir_fd=root, follow_symlinks=False)
        return False
    except FileNotFoundError:
        return not is_opaque(root, userxattr=userxattr)
    except OSError:
        return False
    finally:
        os.close(root)


class Merged:
    """Layer trees seen as one, read-only; ``trees`` are bottom first. Holds one descriptor a layer: close it.

    ``cut``: the trees come from :func:`visible`, so none of their roots hides another.
    """

    def __init__(self, trees: Sequence[Path], *, userxattr: bool, cut: bool = False) -> None:
        self._userxattr = userxattr
        self._roots: list[int] = []
        try:
            for tree in reversed(trees):
                self._roots.append(os.open(tree, _DIRECTORY))
                if not cut and is_opaque(self._roots[-1], userxattr=userxattr):
                    break
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the layers' descriptors."""
        while self._roots:
            os.close(self._roots.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def directory(self, path: str) -> MergedDirectory:
        """Return the directories that overlayfs merges at ``path`` (no link is followed); empty when there is no directory there."""
        stack: list[int] = []
        try:
            stack.extend(map(os.dup, self._roots))
            for part in [p for p in path.split("/") if p]:
                below: list[int] = []
                try:
                    self._descend(stack, part, below)
                finally:
                    _close_all(stack)
                    stack = below
        except BaseException:
            _close_all(stack)
            raise
        return MergedDirectory(stack)

    def _descend(self, stack: Sequence[int], name: str, found: list[int]) -> None:
        for fd in stack:
            try:
                found.append(os.open(name, _DIRECTORY, dir_fd=fd))
            except FileNotFoundError:
                continue
            except OSError as err:
                if err.errno in (errno.ENOTDIR, errno.ELOOP):  # a file, a link or a whiteout: it hides the layers below
                    break
                raise
            if is_opaque(found[-1], userxattr=self._userxattr):
                break

    def read_file(self, path: str, *, max_bytes: int) -> bytes | None:
        """Return a regular file's bytes, links followed inside the root; None where there is none. OSError EFBIG when it is longer."""
        todo = [p for p in path.split("/") if p not in ("", ".")][::-1]
        at: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                at[-1:] = []
                continue
            with self.directory("/".join(at)) as here:
                found = here.find(part)
                if found is None:
                    return None
                if stat.S_ISLNK(found.status.st_mode):
                    links += 1
                    if links > _MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                    text = os.readlink(part, dir_fd=found.directory)
                    at = [] if text.startswith("/") else at
                    todo.extend([p for p in text.split("/") if p not in ("", ".")][::-1])
                elif todo:
                    at.append(part)
                else:
                    return _read_regular(found.directory, part, found.status, max_bytes)
        return None


class Found:
    """A name's status and the descriptor of the layer's directory that has it."""

    __slots__ = ("directory", "status")

    def __init__(self, directory: int, status: os.stat_result) -> None:
        self.directory, self.status = directory, status


class MergedDirectory:
    """One directory as several layers have it, top first; false when none has it. Close it."""

    def __init__(self, stack: list[int]) -> None:
        self._stack = stack

    def __bool__(self) -> bool:
        return bool(self._stack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptors; it is empty then."""
        _close_all(self._stack)

    def status(self) -> os.stat_result | None:
        """Return the status that the merged directory shows."""
        return os.fstat(self._stack[0]) if self._stack else None

    def find(self, name: str) -> Found | None:
        """Look a plain name up; None when it is not there or deleted."""
        for fd in self._stack:
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            return None if is_whiteout(status) else Found(fd, status)
        return None

    def names(self) -> list[str]:
        """List the names that are not deleted, sorted."""
        seen: dict[str, bool] = {}
        for fd in self._stack:
            with _reopened(fd) as readable, os.scandir(readable) as entries:
                for entry in entries:
                    seen.setdefault(entry.name, not is_whiteout(entry.stat(follow_symlinks=False)))
        return sorted(name for name, there in seen.items() if there)


class _reopened:  # noqa: N801 - used as a with-statement word
    def __init__(self, fd: int) -> None:
        self._fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _read_regular(directory: int, name: str, status: os.stat_result, max_bytes: int) -> bytes | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    if status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"more than {max_bytes} bytes", name)
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory), "rb") as file:
        return file.read(max_bytes)


def _close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())

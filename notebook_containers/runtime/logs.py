"""Reading a container's log: oldest first, over rotated files, while it grows (the format is described in ``logfile``)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from notebook_containers.linux.inotify import Watch
from notebook_containers.runtime.exhausted import limit_named
from notebook_containers.runtime.logfile import LogFile

__all__ = ["LogFile", "LogLine", "read_log", "read_log_until"]

_BLOCK = 65536
_FOLLOW_S = 0.1
_RETRIES = 100


class LogLine(NamedTuple):
    """One entry: UTC time in seconds, ``stdout`` or ``stderr``, and the bytes (with the newline, when the line is complete).

    ``stamp`` is the time as it is written: RFC 3339 with nanoseconds.
    """

    time: float
    stream: str
    data: bytes
    stamp: str = ""


def read_log(
    path: str | os.PathLike[str],
    *,
    tail: int | None = None,
    since: float | None = None,
    until: float | None = None,
    follow: bool = False,
    alive: Callable[[], bool] = bool,
    watch: Watch | None = None,
) -> Iterator[LogLine]:
    """Yield the entries of a log and its rotated files, oldest first.

    ``tail`` keeps the last so many lines (pieces of one line count as one), ``since`` and ``until`` (UTC seconds) bound the time. With
    ``follow`` the iterator goes on over rotations until ``alive()`` is False and everything is read, or until ``until``. A log that does
    not exist is empty. A torn last line is skipped.

    ``watch`` (closed at the end) wakes whenever the log grows or ``alive()`` may have changed; without one it is looked at ever again.
    """
    with ExitStack() as stack:
        following = _Following(alive, watch, until) if follow else None
        if watch is not None:
            stack.callback(watch.close)
        for line in _lines(Path(path), stack, tail, following):
            entry = _parse(line)
            if entry is None or (since is not None and entry.time < since):
                continue
            if until is not None and entry.time > until:
                return
            yield entry


def read_log_until(path: str | os.PathLike[str], *, inode: int, size: int) -> Iterator[LogLine]:
    """Yield all entries up to a place (:meth:`LogFile.position`), whichever name that file has by now."""
    with ExitStack() as stack:
        for fd in _open_all(Path(path), stack):
            here = os.fstat(fd).st_ino == inode
            for line in _read(fd, 0, size if here else None):
                if (entry := _parse(line)) is not None:
                    yield entry
            if here:
                return


class _Following:
    """When to look again, and whether there can be more."""

    def __init__(self, alive: Callable[[], bool], watch: Watch | None, until: float | None) -> None:
        self._alive, self._watch, self._until = alive, watch, until

    def over(self) -> bool:
        return (self._until is not None and time.time() > self._until) or not self._alive()

    def wait(self) -> None:
        left = None if self._until is None else max(self._until - time.time(), 0) + 0.001
        if self._watch is None:
            time.sleep(min(_FOLLOW_S, left or _FOLLOW_S))
        else:
            for ended in self._watch.wait(left):
                self._watch.forget(ended)


def _lines(path: Path, stack: ExitStack, tail: int | None, following: _Following | None) -> Iterator[bytes]:
    fds = _open_all(path, stack)
    starts = [(fd, 0) for fd in fds] if tail is None else _tail_starts(fds, tail)
    last = _Growing(-1, 0)
    for fd, offset in starts:
        last = _Growing(fd, offset)
        yield from last.lines()
    while following is not None:
        over = following.over()
        successor = _successor(path, last.fd)
        yield from last.lines()
        if successor >= 0:
            last = _Growing(_replace(last.fd, successor, stack), 0)
        elif over:
            return
        elif not last.moved:
            following.wait()
        last.moved = False


def _replace(old: int, new: int, stack: ExitStack) -> int:
    # one descriptor however often the log is rotated
    if old < 0:
        stack.callback(os.close, new)
        return new
    os.dup2(new, old, inheritable=False)
    os.close(new)
    return old


class _Growing:
    """A file that is still written: complete lines since the last look, and what is left over."""

    def __init__(self, fd: int, offset: int) -> None:
        self.fd, self._offset, self._rest = fd, offset, b""
        self.moved = False

    def lines(self) -> Iterator[bytes]:
        while self.fd >= 0 and (data := os.pread(self.fd, _BLOCK, self._offset)):
            self.moved = True
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from lines


def _names(path: Path) -> list[Path]:
    """Return the log's files, oldest first."""
    try:
        found = [entry for entry in os.listdir(path.parent) if entry.startswith(path.name + ".")]
    except FileNotFoundError:
        return []
    numbers = sorted(
        (int(name.removeprefix(path.name + ".")) for name in found if name.removeprefix(path.name + ".").isdigit()), reverse=True
    )
    return [*(path.with_name(f"{path.name}.{number}") for number in numbers), path]


@limit_named()
def _open_all(path: Path, stack: ExitStack) -> list[int]:
    """Open every file, oldest first; a rotation in between is noticed (the names then show other files) and everything opened anew."""
    for _ in range(_RETRIES):
        names = _names(path)
        with ExitStack() as attempt:
            fds = [fd for name in names if (fd := _open(name, attempt)) >= 0]
            if _inodes(names) == [os.fstat(fd).st_ino for fd in fds] and _names(path) == names and (path.exists() or len(names) <= 1):
                stack.push(attempt.pop_all())
                return fds
        time.sleep(0.001)
    raise OSError(11, "the log is rotated faster than it can be read", str(path))


def _open(name: Path, stack: ExitStack) -> int:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1
    stack.callback(os.close, fd)
    return fd


def _inodes(names: list[Path]) -> list[int]:
    found = []
    for name in names:
        try:
            found.append(name.lstat().st_ino)
        except FileNotFoundError:
            continue
    return found


def _successor(path: Path, fd: int) -> int:
    """Return a descriptor of the file that came after ``fd`` (the oldest, when ``fd`` was removed meanwhile), or -1 when none did."""
    own = os.fstat(fd).st_ino if fd >= 0 else 0
    try:
        if path.stat().st_ino == own:
            return -1
    except FileNotFoundError:
        return -1
    with ExitStack() as stack:
        fds = _open_all(path, stack)
        inodes = [os.fstat(other).st_ino for other in fds]
        place = inodes.index(own) + 1 if own in inodes else 0
        return os.dup(fds[place]) if place < len(fds) else -1


def _read(fd: int, offset: int, end: int | None) -> Iterator[bytes]:
    """Yield the complete lines of an open file from ``offset``, no further than ``end``."""
    rest = b""
    while data := os.pread(fd, _BLOCK if end is None else min(_BLOCK, end - offset), offset):
        offset += len(data)
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _tail_starts(fds: list[int], tail: int) -> list[tuple[int, int]]:
    """Return the files with the offsets where the last ``tail`` lines begin, reading backwards only as far as needed."""
    starts: list[tuple[int, int]] = []
    left = tail
    open_line = True  # pieces at the very end are a line of their own, not yet complete
    for fd in reversed(fds):
        for end, full in _entries_backward(fd):
            if full or open_line:
                if left == 0:
                    return [(fd, end), *starts]
                left -= 1
            open_line = False
        starts.insert(0, (fd, 0))
    return starts


def _entries_backward(fd: int) -> Iterator[tuple[int, bool]]:
    """Yield (end, is a complete line) of a file's entries from the last to the first; a torn end is passed over."""
    position = end = os.fstat(fd).st_size
    rest, torn = b"", True
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        first, *lines = (os.pread(fd, size, position) + rest).split(b"\n")
        for line in reversed(lines):
            if torn:  # what follows the last newline
                end, torn = end - len(line), False
            else:
                yield end, _is_full(line)
                end -= len(line) + 1
        rest = first
    if not torn and end > 0:
        yield end, _is_full(rest)


def _is_full(line: bytes) -> bool:
    return line.split(b" ", 3)[2:3] == [b"F"]


def _parse(line: bytes) -> LogLine | None:
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    moment = _seconds(parts[0])
    if moment is None:
        return None
    return LogLine(moment, parts[1].decode(), parts[3] + (b"\n" if parts[2] == b"F" else b""), parts[0].decode())


def _seconds(text: bytes) -> float | None:
    try:
        whole, _, fraction = text.decode("ascii").removesuffix("Z").partition(".")
        return _whole_seconds(whole) + float(f"0.{fraction or 0}")
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _whole_seconds(text: str) -> int:
    import calendar

    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


def read_until(place: object) -> Iterator[tuple[str, bytes]]:
    """Yield the log up to the place that the monitor gave when it began to send us what comes after."""
    if isinstance(place, dict) and place:
        for line in read_log_until(str(place["path"]), inode=int(place["inode"]), size=int(place["size"])):
            yield line.stream, line.data

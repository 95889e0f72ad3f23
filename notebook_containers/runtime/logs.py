"""A container's log on disk: ``<RFC 3339 time, nanoseconds> stdout|stderr F|P <bytes>`` lines (the CRI format), rotated by size.

``F`` ends a line of the container, ``P`` is a piece of one that goes on; the bytes are the container's own, anything but a newline.
"""

from __future__ import annotations

import errno
import os
import time
from collections import namedtuple
from collections.abc import Callable, Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class LogLine(NamedTuple):
        """One entry: UTC time in seconds, ``stdout`` or ``stderr``, and the bytes (with the newline, when the line is complete)."""

        time: float
        stream: str
        data: bytes

else:
    LogLine = namedtuple("LogLine", ("time", "stream", "data"))  # the monitor imports this file: typing would cost 8 ms

_BLOCK = 65536
_FOLLOW_S = 0.1


class LogFile:
    """The writing end, used by one monitor; a full disk loses log lines (a marker says how many bytes), never the container."""

    __slots__ = ("_fd", "_lost", "_most", "_path", "_prefix", "_second", "_size", "_versions")

    def __init__(self, path: str, *, max_bytes: int, max_files: int) -> None:
        self._path, self._most, self._versions = path, max_bytes, max(max_files, 1)
        self._lost, self._second, self._prefix = 0, 0, ""
        self._open(0)

    def _open(self, flags: int) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o640)
        self._size = os.fstat(self._fd).st_size

    def write(self, stream: str, data: bytes) -> None:
        """Append what the container wrote on ``stream``."""
        prefix = f"{self._now()} {stream} ".encode()
        if self._lost:
            marker = b"%sF [%d bytes of log are lost: the disk was full]\n" % (prefix, self._lost)
            self._lost = 0 if self._append(marker) else self._lost
        *lines, rest = data.split(b"\n")
        text = b"".join(b"%sF %s\n" % (prefix, line) for line in lines)
        if rest:
            text += b"%sP %s\n" % (prefix, rest)
        if self._lost or not self._append(text):
            self._lost += len(data)

    def _append(self, text: bytes) -> bool:
        if self._most > 0 and self._size and self._size + len(text) > self._most:
            self._rotate()
        try:
            written = os.write(self._fd, text)
        except OSError as err:
            if err.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG):
                raise
            return False
        self._size += written
        if written < len(text):
            os.ftruncate(self._fd, self._size - written)
            self._size -= written
            return False
        return True

    def _rotate(self) -> None:
        os.close(self._fd)
        try:
            for number in range(self._versions - 1, 0, -1):
                older, newer = f"{self._path}.{number}", f"{self._path}.{number - 1}" if number > 1 else self._path
                if os.path.lexists(newer):
                    os.rename(newer, older)
        finally:
            self._open(os.O_TRUNC if self._versions == 1 else 0)

    def _now(self) -> str:
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second, self._prefix = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{nanoseconds:09d}Z"

    def position(self) -> dict[str, object]:
        """Return path, inode and size of the file: what is before that place is written, what comes later is not."""
        return {"path": self._path, "inode": os.fstat(self._fd).st_ino, "size": self._size}

    def close(self) -> None:
        """Close the file; a marker for lost bytes is tried once more."""
        if self._lost:
            self.write("stderr", b"")
        os.close(self._fd)


def read_log(
    path: str | os.PathLike[str],
    *,
    tail: int | None = None,
    since: float | None = None,
    until: float | None = None,
    follow: bool = False,
    alive: Callable[[], bool] = bool,
) -> Iterator[LogLine]:
    """Yield the entries of a log and its rotated files, oldest first.

    ``tail`` keeps the last so many complete lines, ``since`` and ``until`` (UTC seconds) bound the time. With ``follow`` the iterator goes
    on over rotations until ``alive()`` is False and everything is read. A log that does not exist is empty. A torn last line is skipped.
    """
    name = os.fspath(path)
    files = _files(name)
    start = _tail_start(files, tail) if tail is not None else [(file, 0) for file in files]
    follower = _Follower(name)
    try:
        for line in follower.read(start, follow=follow, alive=alive):
            entry = _parse(line)
            if entry is None or since is not None and entry.time < since:
                continue
            if until is not None and entry.time > until:
                return
            yield entry
    finally:
        follower.close()


def read_log_until(path: str, *, inode: int, size: int) -> Iterator[LogLine]:
    """Yield all entries up to a place (:meth:`LogFile.position`), whichever name that file has by now."""
    for name in _files(path):
        with open(name, "rb") as file:
            here = os.fstat(file.fileno()).st_ino == inode
            data = file.read(size) if here else file.read()
        for line in data.split(b"\n")[:-1]:
            if (entry := _parse(line)) is not None:
                yield entry
        if here:
            return


def _files(path: str) -> list[str]:
    older = []
    while os.path.exists(f"{path}.{len(older) + 1}"):
        older.append(f"{path}.{len(older) + 1}")
    return [*reversed(older), *([path] if os.path.exists(path) else [])]


def _tail_start(files: list[str], tail: int) -> list[tuple[str, int]]:
    """Return the files with the offsets where the last ``tail`` complete lines begin, reading backwards only as far as needed."""
    start: list[tuple[str, int]] = []
    left = tail
    for file in reversed(files):
        offset, left = _lines_back(file, left, last=not start)
        start.insert(0, (file, offset))
        if left < 0:
            break
    return start


def _lines_back(file: str, wanted: int, *, last: bool) -> tuple[int, int]:
    """Return where the last ``wanted`` full lines of the file begin, and how many are still missing (-1: this is the place)."""
    with open(file, "rb") as stream:
        entries = _ends_backward(stream.fileno())
        partial_at_end = last
        for end, begin, full in entries:
            if full or partial_at_end:
                if wanted == 0:
                    return end, -1
                wanted -= 1
            partial_at_end = False
            _ = begin
    return 0, wanted


def _ends_backward(fd: int) -> Iterator[tuple[int, int, bool]]:
    """Yield (end, begin, is a full line) of the file's entries from the last to the first; a torn end is passed over."""
    position, rest = os.fstat(fd).st_size, b""
    end = position
    torn = True
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        lines = (os.pread(fd, size, position) + rest).split(b"\n")
        for line in reversed(lines[1:]):
            if not torn:
                yield end, end - len(line) - 1, _is_full(line)
                end -= len(line) + 1
            else:
                end -= len(line)
                torn = False
        rest = lines[0]
    if rest and not torn:
        yield end, end - len(rest) - 1, _is_full(rest)


def _is_full(line: bytes) -> bool:
    return line.split(b" ", 3)[2:3] == [b"F"]


class _Follower:
    """Reads lines over a file, and over its successors when it is rotated away."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1
        self._buffer = b""

    def read(self, start: list[tuple[str, int]], *, follow: bool, alive: Callable[[], bool]) -> Iterator[bytes]:
        for name, offset in start:
            self.close()
            self._file = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            os.lseek(self._file, offset, os.SEEK_SET)
            yield from self._lines()
        while follow:
            last = not alive()
            moved = self._moved()
            found = False
            for line in self._lines():
                found = True
                yield line
            if moved:
                self._reopen()
            elif last and not found:
                return
            elif not found:
                time.sleep(_FOLLOW_S)

    def _lines(self) -> Iterator[bytes]:
        while self._file >= 0 and (data := os.read(self._file, _BLOCK)):
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            yield from lines

    def _moved(self) -> bool:
        try:
            return self._file < 0 or os.stat(self._path).st_ino != os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False

    def _reopen(self) -> None:
        self.close()
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            time.sleep(_FOLLOW_S)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._buffer = -1, b""


def _parse(line: bytes) -> LogLine | None:
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    moment = _seconds(parts[0])
    return None if moment is None else LogLine(moment, parts[1].decode(), parts[3] + (b"\n" if parts[2] == b"F" else b""))


def _seconds(text: bytes) -> float | None:
    try:
        whole, _, fraction = text.decode("ascii").removesuffix("Z").partition(".")
        # calendar.timegm without its import
        parsed = time.strptime(whole, "%Y-%m-%dT%H:%M:%S")
        days = _days(parsed.tm_year, parsed.tm_mon, parsed.tm_mday)
    except ValueError:
        return None
    return days * 86400 + parsed.tm_hour * 3600 + parsed.tm_min * 60 + parsed.tm_sec + float(f"0.{fraction or 0}")


def _days(year: int, month: int, day: int) -> int:
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468

"""A container's log on disk, the writing end: ``<RFC 3339 time, nanoseconds> stdout|stderr F|P <bytes>`` lines (the CRI format).

``F`` ends a line of the container, ``P`` is a piece of one that goes on; the bytes are the container's own, anything but a newline.
Rotated by size: ``log``, then ``log.1`` and so on, the newest first. The monitor imports this file; readers use
:mod:`notebook_containers.runtime.logs`.
"""

from __future__ import annotations

import errno
import os
import time

from notebook_containers.runtime import document
from notebook_containers.runtime.document import Table

_BLOCK = 65536


class LogFile:
    """The writing end, used by one monitor; a full disk loses log lines (a marker says how many bytes), never the container."""

    __slots__ = ("_fd", "_lost", "_most", "_path", "_prefix", "_second", "_size", "_versions")

    def __init__(self, path: str, *, max_bytes: int, max_files: int) -> None:
        self._path, self._most, self._versions = path, max_bytes, max(max_files, 1)
        self._lost, self._second, self._prefix = 0, 0, ""
        self._open(0)
        self._mend()

    def _open(self, flags: int) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _mend(self) -> None:
        """Take away a line that a killed monitor left half written: the next one would become part of it."""
        with open(self._path, "rb") as file:
            end = self._size
            while end and (part := os.pread(file.fileno(), min(end, _BLOCK), max(end - _BLOCK, 0))):
                kept = part.rfind(b"\n") + 1
                end = max(end - _BLOCK, 0) + kept
                if kept:
                    break
        if end < self._size:
            os.ftruncate(self._fd, end)
            self._size = end

    def write(self, stream: str, data: bytes) -> None:
        """Append what the container wrote on ``stream``."""
        prefix = f"{self._now()} {stream} ".encode()
        if self._lost:
            marker = b"%sF [%d bytes of log are lost: the disk was full]\n" % (prefix, self._lost)
            self._lost = 0 if self._append(marker) else self._lost
        end = data.rfind(b"\n") + 1
        parts = []
        if end:  # every line gets the prefix at once, and nothing is copied again: this is all that a flood of output costs here
            lines = data if end == len(data) else data[:end]
            parts = [
                prefix,
                b"F ",
                lines.replace(b"\n", b"\n%sF " % prefix, data.count(b"\n", 0, end - 1)),
            ]
        if end < len(data):
            parts += [prefix, b"P ", data[end:], b"\n"]
        if self._lost or not self._append(*parts):
            self._lost += len(data)

    def _append(self, *parts: bytes) -> bool:
        size = sum(map(len, parts))
        if self._most > 0 and self._size and self._size + size > self._most:
            self._rotate()
        try:
            written = os.writev(self._fd, parts)
        except OSError as err:
            if err.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG):
                raise
            return False
        self._size += written
        if written < size:
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

    def full(self) -> bool:
        """Tell whether bytes are lost at this moment because nothing can be written."""
        return self._lost > 0

    def position(self) -> dict[str, object]:
        """Return path, inode and size of the file: what is before that place is written, what comes later is not."""
        return {"path": self._path, "inode": os.fstat(self._fd).st_ino, "size": self._size}

    def close(self) -> None:
        """Close the file; a marker for lost bytes is tried once more."""
        if self._lost:
            self.write("stderr", b"")
        os.close(self._fd)


def open_log(directory: str, options: Table) -> LogFile | None:
    """Open the log that a bundle's monitor.json names, or none when it names none."""
    name = document.text(options, "logPath", "container.log")
    if not name:
        return None
    most, files = document.number(options, "logMaxBytes", 10_000_000), document.number(options, "logMaxFiles", 3)
    return LogFile(os.path.join(directory, name), max_bytes=most, max_files=files)

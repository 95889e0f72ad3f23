"""What happened: one append-only file of JSON lines in the run directory, written by engines and monitors alike, read by whoever asks.

Each event is one write(2) to a descriptor opened with O_APPEND, so lines of many writers never mix. A writer holds a shared lock of the
file it writes to, and looks whether that is still the newest file; whoever rotates holds it alone. So once a file is renamed nothing
comes into it any more, and a reader that has read it to its end may go on to the next without losing a line. Nobody waits long: an
event that cannot be written is dropped, never the thing it tells of.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from notebook_containers.runtime.document import Table

MOST_BYTES = 2_000_000
_NAME, _OLDER = "journal", "journal.1"
_PATIENCE = 50
_BLOCK = 65536


class Journal:
    """The writing end over ``<run directory>/events``; stateless, so threads, processes and forks may share one."""

    __slots__ = ("_most", "directory")

    def __init__(self, run_dir: str, *, max_bytes: int = MOST_BYTES) -> None:
        self.directory = os.path.join(run_dir, "events")
        self._most = max_bytes

    def append(self, kind: str, action: str, identity: str, attributes: Mapping[str, object]) -> None:
        """Write one event in the Engine API's shape; a disk that is full or a directory that is gone is no error."""
        try:
            self._write(b"%s\n" % json.dumps(event(kind, action, identity, attributes), separators=(",", ":")).encode())
        except OSError:
            return

    def _write(self, line: bytes) -> None:
        fd = self._locked()
        try:
            if os.write(fd, line) < len(line):
                os.write(fd, b"\n")  # the disk is full: a torn line must not swallow the next
            if os.fstat(fd).st_size > self._most:
                self._rotate(fd)
        finally:
            os.close(fd)

    def _locked(self) -> int:
        path = os.path.join(self.directory, _NAME)
        for attempt in range(_PATIENCE):
            fd = _open(path)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if os.stat(path).st_ino == os.fstat(fd).st_ino:
                    return fd
            except (BlockingIOError, FileNotFoundError):
                time.sleep(0.001 if attempt else 0)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        raise OSError(errno.EAGAIN, "the journal is locked", path)

    def _rotate(self, fd: int) -> None:
        path = os.path.join(self.directory, _NAME)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another writer is at it: the next event finds the file too large again
        if os.stat(path).st_ino == os.fstat(fd).st_ino:  # changing the lock lets go of it for a moment
            os.rename(path, os.path.join(self.directory, _OLDER))


def event(kind: str, action: str, identity: str, attributes: Mapping[str, object]) -> Table:
    """Return an event as ``GET /events`` sends it; attribute values become text."""
    now = time.time_ns()
    texts = {key: str(value) for key, value in attributes.items()}
    found: Table = {"Type": kind, "Action": action, "Actor": {"ID": identity, "Attributes": texts}, "scope": "local"}
    found.update(time=now // 1_000_000_000, timeNano=now)
    if kind in ("container", "image"):  # the older members, which these two kinds still have
        found.update(status=action, id=identity)
        if kind == "container":
            found["from"] = texts.get("image", "")
    return found


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


class JournalReader:
    """The reading end: every event once and in order, over rotations. ``from_start`` begins with the oldest one that is kept."""

    __slots__ = ("_directory", "_fd", "_offset", "_rest")

    def __init__(self, journal: Journal, *, from_start: bool) -> None:
        self._directory = journal.directory
        self._rest = b""
        os.close(_open(os.path.join(self._directory, _NAME)))  # so that there is a place to stand on
        with self._files() as (first, *_others):
            self._fd, self._offset = os.dup(first), 0
        try:
            while not from_start and self._advance():
                continue
        except BaseException:
            self.close()
            raise
        if not from_start:
            self._offset = os.fstat(self._fd).st_size

    @property
    def directory(self) -> str:
        """The directory whose changes mean that there may be more to read."""
        return self._directory

    def read(self) -> Iterator[Table]:
        """Yield what was not read yet; lines that are no event are passed over."""
        while True:
            moved_on = self._is_old()  # asked before reading to the end: what is renamed gets nothing more
            for line in self._lines():
                try:
                    value = json.loads(line) if line else None
                except ValueError:
                    continue
                if isinstance(value, dict) and isinstance(value.get("timeNano"), int):
                    yield value
            if not moved_on or not self._advance():
                return

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lines(self) -> Iterator[bytes]:
        while data := os.pread(self._fd, _BLOCK, self._offset):
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from lines

    def _is_old(self) -> bool:
        try:
            return os.stat(os.path.join(self._directory, _NAME)).st_ino != os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return False

    @contextmanager
    def _files(self) -> Iterator[list[int]]:
        """Open both files, the older first, for the block; one rotation in between only means that it is done again."""
        while True:
            with ExitStack() as opened:
                fds = [fd for name in (_OLDER, _NAME) if (fd := _existing(os.path.join(self._directory, name), opened)) >= 0]
                inodes = [os.fstat(fd).st_ino for fd in fds]
                if inodes == self._inodes() and len(set(inodes)) == len(inodes):
                    yield fds
                    return

    def _inodes(self) -> list[int]:
        found = []
        for name in (_OLDER, _NAME):
            try:
                found.append(os.stat(os.path.join(self._directory, name)).st_ino)
            except FileNotFoundError:
                continue
        return found

    def _advance(self) -> bool:
        """Go on to the file after this one, if there is one."""
        with self._files() as fds:
            own = os.fstat(self._fd).st_ino
            inodes = [os.fstat(fd).st_ino for fd in fds]
            place = inodes.index(own) + 1 if own in inodes else 0
            found = place < len(fds)
            if found:
                os.dup2(fds[place], self._fd, inheritable=False)
                self._offset, self._rest = 0, b""
            return found


def _existing(path: str, opened: ExitStack) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1
    opened.callback(os.close, fd)
    return fd

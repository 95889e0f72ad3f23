"""Locks of the store's files: taken with flock(2), dropped by the kernel with their owner, and who holds one is asked of the kernel too."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from notebook_containers.errors import StoreError
from notebook_containers.linux.process import command_of

_POLL_S = 0.05

Waiting: TypeAlias = Callable[[Sequence[int]], object]


def try_lock(fd: int) -> bool:
    """Take the file's lock for this descriptor alone; False when others have it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_turn(path: Path, stop: threading.Event | None, waiting: Waiting | None) -> int:
    """Return a locked descriptor of the file that the name leads to now; StoreError when ``stop`` ended the wait, OSError."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not try_lock(fd):
                if waiting is not None:
                    waiting(holders(os.fstat(fd).st_ino))
                    waiting = None
                if stop is not None and stop.wait(_POLL_S):
                    raise StoreError("the wait for another process was stopped")
                if stop is None:
                    time.sleep(_POLL_S)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(fd)):
                    return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def holders(inode: int) -> tuple[int, ...]:
    """Return the pids that hold a file's lock, as far as this process's pid namespace shows them (proc_locks(5))."""
    with suppress(OSError), open("/proc/locks", encoding="utf-8") as file:
        rows = [line.split() for line in file]
        return tuple(sorted({int(r[4]) for r in rows if "->" not in r and r[1] == "FLOCK" and r[5].endswith(f":{inode}")}))
    return ()


def owners(pids: Sequence[int]) -> str:
    """Return in words who these processes are, with their commands: ``process 12 (nbc pull debian)``; an empty text for none."""
    found = [(pid, "this one" if pid == os.getpid() else command_of(pid)) for pid in pids]
    return ", ".join(f"process {pid} ({command})" if command else f"process {pid}" for pid, command in found)

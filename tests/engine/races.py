"""The race every test of a path uses: a directory and a link to the outside exchange their names as fast as can be."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RENAMEAT2, RENAME_EXCHANGE = (316 if os.uname().machine == "x86_64" else 276), 2


@contextmanager
def flipping(directory: Path, outside: Path) -> Iterator[None]:
    """Let ``race`` in the directory be, in turn, a directory with a file and a link to the outside."""
    (directory / "race").mkdir()
    (directory / "race" / "file").write_bytes(b"inside")
    (directory / "other").symlink_to(outside)
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None)
        one, two = os.fsencode(directory / "race"), os.fsencode(directory / "other")
        while True:
            libc.syscall(ctypes.c_long(RENAMEAT2), -100, one, -100, two, RENAME_EXCHANGE)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def look(path: Path) -> list[tuple[str, int, int, int, bytes]]:
    """Return everything of a directory that somebody could have changed."""
    found = [(p.name, (s := p.lstat()).st_mode, s.st_uid, s.st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in path.rglob("*")]
    return [*sorted(found), ("", path.stat().st_mode, path.stat().st_uid, path.stat().st_mtime_ns, b"")]

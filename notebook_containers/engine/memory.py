"""Directories for what must never reach a disk: made in a memory filesystem, named after their owner, swept when the owner is dead."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from notebook_containers.errors import Unsupported
from notebook_containers.linux import syscalls
from notebook_containers.store.disk import start_time

_OWNED = re.compile(r"nbc-secret-(\d+)-(\d+)-[0-9a-f]+\Z")
_SHARED_MEMORY = Path("/dev/shm")
_IN_MEMORY = (0x01021994, 0x858458F6)  # statfs(2): TMPFS_MAGIC, RAMFS_MAGIC


def fresh_directory(run: Path) -> Path:
    """Return a fresh name for a directory in memory: below ``run`` where that is, else in /dev/shm. The caller makes and removes it.

    What dead processes left there is removed first. Raises Unsupported when there is no memory filesystem to write to.
    """
    place = lasting_directory(run)
    _sweep(place)
    return place / f"nbc-secret-{os.getpid()}-{start_time(os.getpid())}-{os.urandom(8).hex()}"


def lasting_directory(run: Path) -> Path:
    """Return a directory in memory that this user can write to: ``run`` where that is, else /dev/shm; Unsupported when neither is."""
    for place in (run, _SHARED_MEMORY):
        if _in_memory(place) and os.access(place, os.W_OK):
            return place
    raise Unsupported(f"a filesystem in memory is needed, and neither {run} nor {_SHARED_MEMORY} is one", hint="set NBC_RUN to a tmpfs")


def _sweep(place: Path) -> None:
    for path in place.glob("nbc-secret-*"):
        owner = _OWNED.match(path.name)
        if owner is not None and start_time(int(owner[1])) != int(owner[2]) and path.lstat().st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)


def _in_memory(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return syscalls.filesystem_type(fd) in _IN_MEMORY
    finally:
        os.close(fd)

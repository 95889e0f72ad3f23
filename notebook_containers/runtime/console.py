"""A container's own terminal: a pty of its own devpts where it has one, sized and given to its user."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from notebook_containers.linux import process as processes, syscalls
from notebook_containers.runtime import document
from notebook_containers.runtime.document import Table

_PTMX = os.makedev(5, 2)


def open_pty(pts: int) -> tuple[int, int]:
    """Return master and slave of a new pty in the devpts instance ``pts`` (a descriptor of its root), or in the host's when it is -1.

    The slave comes from the master itself, never from a path. The caller closes both.
    """
    if pts < 0:
        return os.openpty()
    flags = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_XDEV
    master = syscalls.openat2(pts, "ptmx", os.O_RDWR | os.O_NOCTTY, resolve=flags)
    found = os.fstat(master)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _PTMX:
        os.close(master)
        raise OSError(errno.ENODEV, "it is not the pty multiplexer", "/dev/pts/ptmx")
    processes.unlock_master(master)
    return master, processes.open_peer(master)


def set_up(slave: int, size: Table, uid: int) -> None:
    """Give a fresh terminal its size (rows and columns, 24 by 80 unless told) and its owner."""
    processes.set_window(slave, document.number(size, "height", 24) or 24, document.number(size, "width", 80) or 80)
    if uid:
        os.fchown(slave, uid, -1)


def give_pipes(uid: int) -> None:
    """Give the pipes among 0, 1 and 2 to ``uid``; one that is not ours to give (a foreign caller's) stays whose it is."""
    for fd in (0, 1, 2):
        found = os.fstat(fd)
        if stat.S_ISFIFO(found.st_mode) and found.st_uid != uid:
            with suppress(PermissionError):
                os.fchown(fd, uid, -1)

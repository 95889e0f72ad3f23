"""Waiting for files to change, and for processes to end, without looking again and again (inotify(7), pidfd_open(2)).

Standard library only. Failures are OSError.
"""

from __future__ import annotations

import ctypes
import os
import select
import time
from contextlib import ExitStack

from notebook_containers.linux import syscalls

IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
CHANGES = IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE

_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK


class Watch:
    """Directories whose entries are watched, and further descriptors; one thread waits, any thread may :meth:`wake` it."""

    __slots__ = ("_epoll", "_inotify", "_others", "_wake")

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._inotify = syscalls.check("inotify_init1", library.inotify_init1(ctypes.c_int(_CLOEXEC_NONBLOCK)))
        self._others: set[int] = set()
        with ExitStack() as undo:
            undo.callback(os.close, self._inotify)
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self._wake)
            self._epoll = select.epoll()
            undo.pop_all()
        for fd in (self._inotify, self._wake):
            self._epoll.register(fd, select.EPOLLIN)

    def add(self, directory: str, mask: int = CHANGES) -> None:
        """Watch the entries of a directory (or a file)."""
        library = ctypes.CDLL(None, use_errno=True)
        result = library.inotify_add_watch(ctypes.c_int(self._inotify), os.fsencode(directory), ctypes.c_uint32(mask))
        syscalls.check("inotify_add_watch", result, directory)

    def also(self, fd: int) -> None:
        """Wait for this descriptor too; it belongs to the watch from now on."""
        self._epoll.register(fd, select.EPOLLIN)
        self._others.add(fd)

    def forget(self, fd: int) -> None:
        """Close a descriptor given to :meth:`also`. Idempotent."""
        if fd in self._others:
            self._others.remove(fd)
            self._epoll.unregister(fd)
            os.close(fd)

    def wait(self, timeout_s: float | None = None) -> list[int]:
        """Wait until something changed, a descriptor is ready, somebody woke us, or time is over; returns the ready given descriptors."""
        ready = [fd for fd, _events in self._epoll.poll(timeout_s)]
        for fd in (self._inotify, self._wake):
            if fd in ready:
                drain(fd)
        return [fd for fd in ready if fd in self._others]

    def wake(self) -> None:
        """Make the waiting thread return; safe from any thread."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        if self._epoll.closed:
            return
        for fd in [*self._others]:
            self.forget(fd)
        self._epoll.close()
        os.close(self._inotify)
        os.close(self._wake)


def entries(directory: str, mask: int) -> int:
    """Return a descriptor of one's own that can be read when the entries of a directory changed; the caller closes it."""
    library = ctypes.CDLL(None, use_errno=True)
    fd = syscalls.check("inotify_init1", library.inotify_init1(ctypes.c_int(_CLOEXEC_NONBLOCK)))
    try:
        added = library.inotify_add_watch(ctypes.c_int(fd), os.fsencode(directory), ctypes.c_uint32(mask))
        syscalls.check("inotify_add_watch", added, directory)
    except OSError:
        os.close(fd)
        raise
    return fd


def drain(fd: int) -> None:
    """Read and forget all that such a descriptor has to tell."""
    try:
        while os.read(fd, 65536):
            continue
    except BlockingIOError:
        return


def left(deadline: float | None) -> float | None:
    """Return the seconds until a moment of the monotonic clock, never negative; None is for ever."""
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)

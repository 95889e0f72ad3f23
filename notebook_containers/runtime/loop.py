"""The monitor's event loop: descriptors with handlers over one epoll, nothing else."""

from __future__ import annotations

import select
from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Loop:
    """Descriptors and who is called when they are ready."""

    __slots__ = ("_epoll", "_handlers")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call ``handler(fd)`` whenever ``fd`` is ready; a watched descriptor only changes its events."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on a watched descriptor; 0 waits for none but the end."""
        self._epoll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Stop watching, before the descriptor is closed. Idempotent."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def watches(self, fd: int) -> bool:
        """Tell whether ``fd`` is watched."""
        return fd in self._handlers

    def close(self) -> None:
        """Watch nothing any more, for ever."""
        self._epoll.close()

    def turn(self, timeout_s: float | None) -> None:
        """Wait once and call the handlers of what is ready."""
        for fd, _events in self._epoll.poll(timeout_s):
            handler = self._handlers.get(fd)
            if handler is not None:  # an earlier handler of this turn may have stopped watching it
                handler(fd)

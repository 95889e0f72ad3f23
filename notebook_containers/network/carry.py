"""Carrying bytes between two sockets: one selector, bounded buffers, half-closed connections kept; what listens is :mod:`.listeners`.

Standard library only: the forwarder of each container loads it. A connection keeps at most 256 KiB per direction (sctp: 320 KiB).
"""

from __future__ import annotations

import selectors
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress

LIMIT_BYTES = 1 << 18
_MESSAGE_BYTES = 65535
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
RESET_AT_CLOSE = struct.pack("=ii", 1, 0)  # struct linger: on, for no time


class Loop:
    """A selector with a callback for each socket; ``watch`` with no events takes a socket out."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.running = True

    def watch(self, sock: socket.socket | int, events: int, callback: Callable[[int], None]) -> None:
        """Set the events of interest of a socket; the callback gets those that came."""
        known = self.selector.get_map().get(sock)
        if known is None:
            if events:
                self.selector.register(sock, events, callback)
        elif not events:
            self.selector.unregister(sock)
        elif known.events != events:
            self.selector.modify(sock, events, callback)

    def forget(self, sock: socket.socket) -> None:
        """Take the socket out and close it."""
        with suppress(KeyError, ValueError):
            self.selector.unregister(sock)
        sock.close()

    def run(self, wait: Callable[[], float | None]) -> None:
        """Call back until :attr:`running` is false; ``wait`` is asked before each sleep how long it may be (None: for ever)."""
        while self.running:
            for key, events in self.selector.select(wait()):
                # A callback before this one may have closed the socket, and the number may already be another's.
                current = self.selector.get_map().get(key.fd)
                if current is not None and current.fileobj is key.fileobj:
                    key.data(events)


class Direction:
    """Bytes on their way from one socket to the other."""

    __slots__ = ("buffer", "ended", "finished", "source", "target")

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.buffer = bytearray()
        self.ended = self.finished = False

    def fill(self) -> None:
        """Read what fits; raises OSError when the connection broke."""
        try:
            data = self.source.recv(LIMIT_BYTES - len(self.buffer))
        except BlockingIOError:
            return
        self.buffer += data
        self.ended = not data

    def flush(self) -> None:
        """Write what the other side takes, and pass the end on once all is written; raises OSError when the connection broke."""
        if self.buffer:
            with suppress(BlockingIOError):
                sent = self.target.send(self.buffer)
                del self.buffer[:sent]
        if self.ended and not self.buffer and not self.finished:
            self.finished = True
            self.target.shutdown(socket.SHUT_WR)

    @property
    def waiting(self) -> bool:
        """Whether something is still to be written."""
        return bool(self.buffer)

    @property
    def wants_read(self) -> bool:
        """Whether there is room and more may come."""
        return not self.ended and len(self.buffer) < LIMIT_BYTES


class Messages(Direction):
    """Messages on their way (sctp): each is passed on as one, in order; streams and payload identifiers of sctp are not."""

    __slots__ = ("messages", "size")

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        super().__init__(source, target)
        self.messages: deque[bytes] = deque()
        self.size = 0

    def fill(self) -> None:
        """Read one message; raises OSError when the connection broke."""
        try:
            data = self.source.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return
        if data:
            self.messages.append(data)
            self.size += len(data)
        self.ended = not data

    def flush(self) -> None:
        """Write the messages that the other side takes, then the end."""
        with suppress(BlockingIOError):
            while self.messages:
                self.target.send(self.messages[0])
                self.size -= len(self.messages.popleft())
        if self.ended and not self.messages and not self.finished:
            self.finished = True
            self.target.shutdown(socket.SHUT_WR)

    @property
    def waiting(self) -> bool:
        """Whether something is still to be written."""
        return bool(self.messages)

    @property
    def wants_read(self) -> bool:
        """Whether there is room and more may come."""
        return not self.ended and self.size < LIMIT_BYTES


class Connection:
    """One accepted connection and its other half to the container; half-closed is kept half-closed."""

    def __init__(
        self, loop: Loop, client: socket.socket, server: socket.socket, closed: Callable[[Connection], None], *, messages: bool = False
    ) -> None:
        self.loop, self.client, self.server, self.closed = loop, client, server, closed
        direction = Messages if messages else Direction
        self.up, self.down = direction(client, server), direction(server, client)
        for sock in (client, server):
            sock.setblocking(False)
            if not messages:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        loop.watch(server, _WRITE, self._connected)

    def _connected(self, _events: int) -> None:
        if self.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close(broken=True)
            return
        self.loop.watch(self.server, 0, self._on_server)
        self._update()

    def _on_client(self, events: int) -> None:
        self._move(events, incoming=self.up, outgoing=self.down)

    def _on_server(self, events: int) -> None:
        self._move(events, incoming=self.down, outgoing=self.up)

    def _move(self, events: int, *, incoming: Direction, outgoing: Direction) -> None:
        try:
            if events & _READ and incoming.wants_read:
                incoming.fill()
                incoming.flush()
            if events & _WRITE:
                outgoing.flush()
        except OSError:
            self.close(broken=True)
            return
        if self.up.finished and self.down.finished:
            self.close(broken=False)
        else:
            self._update()

    def _update(self) -> None:
        for sock, incoming, outgoing, callback in (
            (self.client, self.up, self.down, self._on_client),
            (self.server, self.down, self.up, self._on_server),
        ):
            self.loop.watch(sock, (_READ if incoming.wants_read else 0) | (_WRITE if outgoing.waiting else 0), callback)

    def close(self, *, broken: bool) -> None:
        """Close both halves; a broken connection is reset on both sides, so that nobody takes it for a complete one."""
        for sock in (self.client, self.server):
            if broken:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            self.loop.forget(sock)
        self.closed(self)

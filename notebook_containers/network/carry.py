"""Carrying bytes between sockets: one selector, bounded buffers, half-closed connections kept; tcp connections and udp sessions.

Standard library only: the forwarder of each container loads it. A connection keeps at most 256 KiB per direction.
"""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

LIMIT_BYTES = 1 << 18
UDP_IDLE_S = 90.0
UDP_SESSIONS = 1024
_DATAGRAMS_AT_ONCE = 32
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_RESET_AT_CLOSE = struct.pack("=ii", 1, 0)  # struct linger: on, for no time


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
    def wants_read(self) -> bool:
        """Whether there is room and more may come."""
        return not self.ended and len(self.buffer) < LIMIT_BYTES


class Connection:
    """One accepted connection and its other half to the container; half-closed is kept half-closed."""

    def __init__(self, loop: Loop, client: socket.socket, server: socket.socket, closed: Callable[[], None]) -> None:
        self.loop, self.client, self.server, self.closed = loop, client, server, closed
        self.up, self.down = Direction(client, server), Direction(server, client)
        for sock in (client, server):
            sock.setblocking(False)
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
            self.loop.watch(sock, (_READ if incoming.wants_read else 0) | (_WRITE if outgoing.buffer else 0), callback)

    def close(self, *, broken: bool) -> None:
        """Close both halves; a broken connection is reset on both sides, so that nobody takes it for a complete one."""
        for sock in (self.client, self.server):
            if broken:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            self.loop.forget(sock)
        self.closed()


class Door:
    """Where the container is: address and port, and the source to come from (None: whatever the kernel takes)."""

    __slots__ = ("address", "port", "source")

    def __init__(self, address: str, port: int, source: str | None) -> None:
        self.address, self.port, self.source = address, port, source

    def socket(self, kind: socket.SocketKind) -> socket.socket:
        """Return a non-blocking socket that is connecting (tcp) or connected (udp); raises OSError when that is refused at once."""
        sock = socket.socket(socket.AF_INET, kind)
        try:
            sock.setblocking(False)
            if self.source:
                sock.bind((self.source, 0))
            with suppress(BlockingIOError):
                sock.connect((self.address, self.port))
        except OSError:
            sock.close()
            raise
        return sock


class TcpPort:
    """A listening socket; at the limit of descriptors it stops accepting until a connection ends."""

    def __init__(self, loop: Loop, listener: socket.socket, door: Door, most: int) -> None:
        self.loop, self.listener, self.door, self.most = loop, listener, door, most
        self.open = 0
        listener.setblocking(False)
        loop.watch(listener, _READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            client, _ = self.listener.accept()
        except OSError:  # the client has gone already, or no descriptor is left
            return
        try:
            server = self.door.socket(socket.SOCK_STREAM)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            client.close()
            return
        self.open += 1
        Connection(self.loop, client, server, self._closed)
        if self.open >= self.most:
            self.loop.watch(self.listener, 0, self._accept)

    def _closed(self) -> None:
        self.open -= 1
        self.loop.watch(self.listener, _READ, self._accept)


class UdpPort:
    """A bound datagram socket with a small table: each client address has a socket of its own towards the container."""

    def __init__(self, loop: Loop, listener: socket.socket, door: Door, most: int) -> None:
        self.loop, self.listener, self.door = loop, listener, door
        self.most = min(most, UDP_SESSIONS)
        self.sessions: dict[tuple[object, ...], tuple[socket.socket, float]] = {}  # in order of last use: the first is the oldest
        listener.setblocking(False)
        loop.watch(listener, _READ, self._from_clients)

    def _from_clients(self, _events: int) -> None:
        with suppress(OSError):
            for _ in range(_DATAGRAMS_AT_ONCE):
                data, client = self.listener.recvfrom(65535)
                with suppress(OSError):
                    self._session(client).send(data)

    def _session(self, client: tuple[object, ...]) -> socket.socket:
        sock, _ = self.sessions.pop(client, (None, 0.0))
        if sock is None:
            if len(self.sessions) >= self.most:
                self._end(next(iter(self.sessions)))
            sock = self.door.socket(socket.SOCK_DGRAM)
            self.loop.watch(sock, _READ, lambda _events: self._from_container(client))
        self.sessions[client] = (sock, monotonic())
        return sock

    def _from_container(self, client: tuple[object, ...]) -> None:
        sock, _ = self.sessions[client]
        try:
            for _ in range(_DATAGRAMS_AT_ONCE):
                self.listener.sendto(sock.recv(65535), client)
        except BlockingIOError:
            self.sessions[client] = (self.sessions.pop(client)[0], monotonic())
        except OSError:  # nobody listens inside (an ICMP said so): the next datagram tries anew
            self._end(client)

    def _end(self, client: tuple[object, ...]) -> None:
        self.loop.forget(self.sessions.pop(client)[0])

    def sweep(self) -> float | None:
        """End sessions that are idle for too long; return in how many seconds the next may be due, None when there is none."""
        now = monotonic()
        while self.sessions:
            client, (_sock, used) = next(iter(self.sessions.items()))
            if used + UDP_IDLE_S > now:
                return used + UDP_IDLE_S - now
            self._end(client)
        return None

"""What listens for a container: tcp and sctp ports with their connections, udp ports with their sessions, and the door they lead to.

Standard library only: the forwarder of each container loads it.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
from contextlib import suppress
from time import monotonic

from notebook_containers.network.carry import RESET_AT_CLOSE, Connection, Loop

UDP_IDLE_S = 90.0
UDP_SESSIONS = 1024
_DATAGRAMS_AT_ONCE = 32


class Door:
    """Where the container is: address (empty: nowhere) and port, and the source to come from (None: whatever the kernel takes)."""

    __slots__ = ("address", "port", "source")

    def __init__(self, address: str, port: int, source: str | None) -> None:
        self.address, self.port, self.source = address, port, source

    def socket(self, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
        """Return a non-blocking socket that is connecting (tcp) or connected (udp); raises OSError when that is refused at once."""
        if not self.address:  # which the kernel would take for this machine
            raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        sock = socket.socket(socket.AF_INET, kind, protocol)
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


class StreamPort:
    """A listening tcp or sctp socket; at ``most`` connections it stops accepting until one ends."""

    def __init__(self, loop: Loop, listener: socket.socket, door: Door, most: int, *, sctp: bool = False) -> None:
        self.loop, self.listener, self.door, self.most = loop, listener, door, most
        self.sctp = sctp
        self.open: set[Connection] = set()
        listener.setblocking(False)
        loop.watch(listener, selectors.EVENT_READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            client, _ = self.listener.accept()
        except OSError:  # the client has gone already, or no descriptor is left
            return
        try:
            server = self.door.socket(socket.SOCK_STREAM, socket.IPPROTO_SCTP if self.sctp else 0)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            client.close()
            return
        self.open.add(Connection(self.loop, client, server, self._closed, messages=self.sctp))
        if len(self.open) >= self.most:
            self.loop.watch(self.listener, 0, self._accept)

    def _closed(self, connection: Connection) -> None:
        self.open.discard(connection)
        if self.listener.fileno() >= 0:
            self.loop.watch(self.listener, selectors.EVENT_READ, self._accept)

    def move(self, address: str) -> None:
        """Lead new connections elsewhere."""
        self.door.address = address

    def sweep(self) -> float | None:
        """Nothing ends by itself here."""
        return None

    def close(self) -> None:
        """Give the port back; its connections are reset."""
        self.loop.forget(self.listener)
        for connection in list(self.open):
            connection.close(broken=True)


class UdpPort:
    """A bound datagram socket with a small table: each client address has a socket of its own towards the container."""

    def __init__(self, loop: Loop, listener: socket.socket, door: Door, most: int) -> None:
        self.loop, self.listener, self.door = loop, listener, door
        self.most = most
        self.sessions: dict[tuple[object, ...], tuple[socket.socket, float]] = {}  # in order of last use: the first is the oldest
        listener.setblocking(False)
        loop.watch(listener, selectors.EVENT_READ, self._from_clients)

    def _from_clients(self, _events: int) -> None:
        with suppress(OSError):
            for _ in range(_DATAGRAMS_AT_ONCE):
                data, client = self.listener.recvfrom(65535)
                with suppress(OSError):
                    self._session(client).send(data)

    def _session(self, client: tuple[object, ...]) -> socket.socket:
        sock, _ = self.sessions.pop(client, (None, 0.0))
        if sock is None:
            if len(self.sessions) >= min(self.most, UDP_SESSIONS):
                self._end(next(iter(self.sessions)))
            sock = self.door.socket(socket.SOCK_DGRAM)
            self.loop.watch(sock, selectors.EVENT_READ, lambda _events: self._from_container(client))
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

    def move(self, address: str) -> None:
        """Lead all datagrams elsewhere from now on."""
        self.door.address = address
        for client in list(self.sessions):
            self._end(client)

    def close(self) -> None:
        """Give the port back and end its sessions."""
        self.loop.forget(self.listener)
        for client in list(self.sessions):
            self._end(client)

    def sweep(self) -> float | None:
        """End sessions that are idle for too long; return in how many seconds the next may be due, None when there is none."""
        now = monotonic()
        while self.sessions:
            client, (_sock, used) = next(iter(self.sessions.items()))
            if used + UDP_IDLE_S > now:
                return used + UDP_IDLE_S - now
            self._end(client)
        return None

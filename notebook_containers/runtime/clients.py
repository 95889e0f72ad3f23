"""The monitor's side of the control socket: who is connected, frames in, bounded queues out."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from notebook_containers.linux import process as processes
from notebook_containers.runtime import wire
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.loop import READ, WRITE, Loop

HIGH_BYTES, LOW_BYTES = 1 << 20, 1 << 18
STALL_S = 10.0
_CHUNK = 65536


class Client:
    """One connection.

    Output waits in a queue. Above HIGH_BYTES the monitor stops reading from the container, so nothing is lost to a slow reader. A reader
    that takes nothing at all for STALL_S is given up: its output is dropped, and a LOST frame tells it how much, when it reads again.
    """

    __slots__ = (
        "_dropping",
        "_lost",
        "_moved",
        "_queue",
        "attached",
        "ends_input",
        "muted",
        "on_gone",
        "reader",
        "sends_input",
        "sock",
        "waits",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reader = wire.Reader()
        self.attached = self.sends_input = self.ends_input = self.waits = False
        self.muted = False  # its input is not read for the moment: the container does not take it
        self.on_gone: Callable[[], None] | None = None
        self._queue = bytearray()
        self._moved = time.monotonic()
        self._lost = 0
        self._dropping = False
        sock.setblocking(False)

    def trusted(self) -> bool:
        """Tell whether the peer is this user or root."""
        return self.peer()[1] in (0, os.geteuid())

    def peer(self) -> tuple[int, int]:
        """Return the pid and the user id of the process that connected (SO_PEERCRED)."""
        pid, uid, _gid = struct.unpack("iII", self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid

    def events(self) -> int:
        """Return what the loop should wait for."""
        return (0 if self.muted else READ) | (WRITE if self._queue else 0)

    def put(self, data: bytes) -> None:
        """Queue a frame and send what the peer takes now."""
        if not self._queue:
            self._moved = time.monotonic()
            self._queue += memoryview(data)[self._send(data) :]  # what is taken at once is not copied
        else:
            self._queue += data
        self.flush()

    def put_last(self, data: bytes) -> None:
        """Queue the last frame: what the peer sends from now on is not read."""
        self.muted = True
        processes.hear_no_more(self.sock)
        self.put(data)

    def output(self, data: bytes, size: int) -> None:
        """Queue a frame with ``size`` bytes that the container wrote, unless the peer is given up."""
        if self._dropping:
            self._lost += size
        else:
            self.put(data)

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self.sock.send(memoryview(data)[:HIGH_BYTES])
        except BlockingIOError:
            return 0

    def flush(self) -> None:
        """Send what the peer takes now; OSError when it is gone."""
        while self._queue:
            if not (sent := self._send(self._queue)):
                return
            del self._queue[:sent]
            self._moved = time.monotonic()
        self._dropping = False
        self.say_lost()

    def say_lost(self) -> None:
        """Queue how much was dropped, if anything was."""
        if self._lost:
            lost, self._lost = self._lost, 0
            self.put(wire.frame(wire.LOST, str(lost).encode()))

    def hung_up(self) -> bool:
        """Tell whether the peer has closed its end."""
        poll = select.poll()
        poll.register(self.sock, 0)
        return bool(poll.poll(0))

    def pending(self) -> bool:
        """Tell whether output waits."""
        return bool(self._queue)

    def holds(self, *, now: float) -> bool:
        """Tell whether the container should wait for this client; one that takes nothing is given up here."""
        if self._dropping or len(self._queue) < HIGH_BYTES:
            return False
        self._dropping = self.stalled(now=now)
        return not self._dropping

    def drained(self) -> bool:
        """Tell whether the container may go on for this client."""
        return self._dropping or len(self._queue) <= LOW_BYTES

    def stalled(self, *, now: float) -> bool:
        """Tell whether the peer took nothing for STALL_S although output waits."""
        return bool(self._queue) and now - self._moved >= STALL_S


class Clients:
    """All connections, and the socket they come through.

    ``on_request(client, request)`` returns the answer, or None when it comes later; ``on_input(bytes)`` gets what an attached client sends,
    empty at its end.
    """

    __slots__ = ("_all", "_listener", "_loop", "_on_input", "_on_request")

    def __init__(self, loop: Loop, on_request: Callable[[Client, Table], Table | None], on_input: Callable[[bytes], None]) -> None:
        self._loop, self._on_request, self._on_input = loop, on_request, on_input
        self._all: dict[int, Client] = {}
        self._listener: socket.socket | None = None

    def listen(self, directory: str) -> None:
        """Open the control socket ``ctl`` in ``directory``, for its owner only. Idempotent."""
        if self._listener is not None:
            return
        # a relative name: the path of the directory may be longer than a socket address
        os.chdir(directory)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind("ctl")
        os.chdir("/")
        self._listener.listen(128)
        self._loop.watch(self._listener.fileno(), READ, self._accept)

    def stop_listening(self, directory: str) -> None:
        """Take no more connections. Idempotent."""
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None
            with suppress(OSError):
                os.unlink(os.path.join(directory, "ctl"))

    def attached(self) -> list[Client]:
        """Return those that get the container's output."""
        return [client for client in self._all.values() if client.attached]

    def all(self) -> list[Client]:
        """Return every connection."""
        return list(self._all.values())

    def send(self, client: Client, data: bytes) -> None:
        """Queue a frame for a client that may be gone by now."""
        self._guarded(client, lambda: client.put(data))

    def send_last(self, client: Client, data: bytes) -> None:
        """Queue the last frame for a client that may be gone by now, and hang up when it has taken all."""
        self._guarded(client, lambda: client.put_last(data))
        if not client.pending():  # nothing is read of it any more, so that its going would never be heard
            self.drop(client)

    def output(self, kind: int, data: bytes) -> None:
        """Queue what the container wrote for every attached client."""
        clients = self.attached()
        if clients:
            frame = wire.frame(kind, data)
            for client in clients:
                self._guarded(client, lambda client=client: client.output(frame, len(data)))  # type: ignore[misc]

    def mute(self, *, muted: bool) -> None:
        """Stop or go on reading the input of attached clients."""
        for client in self._all.values():
            if client.sends_input and client.muted != muted:
                client.muted = muted
                self._loop.watch(client.sock.fileno(), client.events(), self._hear)

    def drop(self, client: Client) -> None:
        """Hang up on a client. Idempotent. Who fed the container's input ends it by going, unless it said that it only detaches."""
        fd = client.sock.fileno()
        if self._all.pop(fd, None) is None:
            return
        self._loop.unwatch(fd)
        client.sock.close()
        if client.on_gone is not None:
            client.on_gone()
        if client.ends_input:
            self._on_input(b"")

    def _accept(self, _fd: int) -> None:
        if self._listener is None:
            return
        try:
            sock, _address = self._listener.accept()
        except OSError:
            return
        client = Client(sock)
        if client.trusted():
            self._welcome(client)
        else:
            sock.close()

    def adopt(self, sock: socket.socket) -> Client:
        """Take a connection that did not come through the control socket: the one on which the container was asked for."""
        client = Client(sock)
        self._welcome(client)
        return client

    def _welcome(self, client: Client) -> None:
        self._all[client.sock.fileno()] = client
        self._loop.watch(client.sock.fileno(), READ, self._hear)

    def _guarded(self, client: Client, action: Callable[[], None]) -> None:
        try:
            action()
        except ValueError:
            self.drop(client)
        except OSError:
            self._hear_out(client)
            self.drop(client)
        if client.sock.fileno() in self._all and self._loop.watches(client.sock.fileno()):
            self._loop.change(client.sock.fileno(), client.events())

    def _hear_out(self, client: Client) -> None:
        """Do what a client asked for before it hung up: it may have said that it only detaches."""
        with suppress(OSError, ValueError):
            while data := client.sock.recv(_CHUNK):
                client.reader.feed(data)
        with suppress(ValueError):
            for kind, payload in client.reader.frames():
                if kind == wire.REQUEST:
                    self._on_request(client, wire.parse(payload))

    def _hear(self, fd: int) -> None:
        client = self._all[fd]
        self._guarded(client, lambda: self._take(client))

    def _take(self, client: Client) -> None:
        client.flush()
        if client.muted and client.hung_up() and not client.pending():  # the kernel tells this again and again: until it is heard again
            self._loop.unwatch(client.sock.fileno())
        try:
            data = b"" if client.muted else client.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        if not data and not client.muted:
            self.drop(client)
            return
        client.reader.feed(data)
        for kind, payload in client.reader.frames():
            if kind == wire.STDIN and client.sends_input:
                self._on_input(payload)
            elif kind == wire.REQUEST:
                answer = self._on_request(client, wire.parse(payload))
                if answer is not None:
                    client.put(wire.json_frame(wire.ANSWER, answer))

"""Questions for name servers outside: one socket and one random id each, the next server after a while, SERVFAIL when none answers."""

from __future__ import annotations

import heapq
import os
import secrets
import selectors
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

from notebook_containers.network.carry import Loop

SERVER_TIMEOUT_S = 2.0
ROUNDS = 2
_MOST_OPEN = 512
_PORT = 53
_RESOLV_CONF = "/etc/resolv.conf"
_FALLBACK = ("1.1.1.1", "9.9.9.9")
_HEADER = 12
_SERVER_FAILURE = 2
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

Reply = Callable[[bytes], None]


class Upstream:
    """Asks name servers on behalf of containers, in the caller's network namespace."""

    def __init__(self, loop: Loop, *, port: int = _PORT, resolv_conf: str = _RESOLV_CONF) -> None:
        self._loop, self._port, self._resolv_conf = loop, port, resolv_conf
        self._due: list[tuple[float, int, Asking]] = []
        self._count = 0
        self._seen: tuple[int, ...] = ()
        self._hosts: tuple[str, ...] = _FALLBACK
        self.open = 0

    def ask(self, query: bytes, reply: Reply, *, servers: Sequence[str] = (), stream: bool = False) -> None:
        """Ask ``servers``, the host's where none are named; ``reply`` gets the answer's bytes with the question's id, sooner or later."""
        if self.open >= _MOST_OPEN:
            reply(failure(query))
            return
        self.open += 1
        asking = Asking(self, query, reply, servers=tuple(servers) or self._of_the_host(), stream=stream)
        asking.next()

    def wait(self) -> float | None:
        """Give up on servers that did not answer in time; return in how many seconds the next is due, None when nothing is asked."""
        now = monotonic()
        while self._due and self._due[0][0] <= now:
            _, attempt, asking = heapq.heappop(self._due)
            if asking.attempt == attempt:
                asking.next()
        return max(self._due[0][0] - now, 0.0) if self._due else None

    def later(self, asking: Asking) -> int:
        """Note that an attempt began; return its number."""
        self._count += 1
        heapq.heappush(self._due, (monotonic() + SERVER_TIMEOUT_S, self._count, asking))
        return self._count

    def connect(self, server: str, *, stream: bool) -> socket.socket:
        """Return a non-blocking socket that is connecting to a server; raises OSError when that is refused at once."""
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect((server, self._port))
        except OSError:
            sock.close()
            raise
        return sock

    def watch(self, sock: socket.socket, events: int, callback: Callable[[int], None]) -> None:
        """Wait for a socket."""
        self._loop.watch(sock, events, callback)

    def forget(self, sock: socket.socket) -> None:
        """Close a socket."""
        self._loop.forget(sock)

    def _of_the_host(self) -> tuple[str, ...]:
        """Return the host's servers as its resolv.conf has them at this moment: a laptop moves between networks."""
        try:
            status = os.stat(self._resolv_conf)
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                with open(self._resolv_conf, encoding="utf-8", errors="replace") as file:
                    lines = [line.split() for line in file]
                words = [line[1].partition("%")[0] for line in lines if len(line) > 1 and line[0] == "nameserver"]
                self._hosts, self._seen = tuple(word for word in words if _is_address(word)) or _FALLBACK, seen
        except OSError:
            return _FALLBACK
        return self._hosts


class Asking:
    """One question on its way: to each server in turn, as often as :data:`ROUNDS` says."""

    def __init__(self, upstream: Upstream, query: bytes, reply: Reply, *, servers: Sequence[str], stream: bool) -> None:
        self._upstream, self._query, self._reply, self._stream = upstream, query, reply, stream
        self._rest = [*servers] * ROUNDS
        self._sock: socket.socket | None = None
        self._id = self._buffer = b""
        self.attempt = 0

    def next(self) -> None:
        """Ask the next server, or say that none answered."""
        self._close()
        while self._rest:
            server = self._rest.pop(0)
            try:
                self._sock = self._upstream.connect(server, stream=self._stream)
            except OSError:
                continue
            self._id, self._buffer = secrets.token_bytes(2), b""
            self.attempt = self._upstream.later(self)
            self._upstream.watch(self._sock, _WRITE, self._send)
            return
        self._end(failure(self._query))

    def _send(self, _events: int) -> None:
        assert self._sock is not None
        message = self._id + self._query[2:]
        try:
            self._sock.send(struct.pack(">H", len(message)) + message if self._stream else message)
        except OSError:
            self.next()
            return
        self._upstream.watch(self._sock, _READ, self._read)

    def _read(self, _events: int) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            self.next()
            return
        if self._stream:
            self._buffer += data
            answer = self._buffer[2:] if len(self._buffer) > 1 and len(self._buffer) >= 2 + int.from_bytes(self._buffer[:2], "big") else b""
            if not data and not answer:
                self.next()
                return
        else:
            answer = data
        if answer[:2] == self._id and _same_question(self._query, answer):
            self._end(self._query[:2] + answer[2:])

    def _close(self) -> None:
        self.attempt = 0
        if self._sock is not None:
            self._upstream.forget(self._sock)
            self._sock = None

    def _end(self, answer: bytes) -> None:
        self._close()
        self._upstream.open -= 1
        self._reply(answer)


def failure(query: bytes) -> bytes:
    """Return the answer that says "no server could be asked": the question's header and question with the code SERVFAIL."""
    (flags,) = struct.unpack_from(">H", query, 2)
    answer = 0x8000 | 0x80 | (flags & 0x7900) | _SERVER_FAILURE
    return query[:2] + struct.pack(">HHHHH", answer, 1, 0, 0, 0) + query[_HEADER : _question_end(query)]


def _question_end(message: bytes) -> int:
    return message.find(b"\0", _HEADER) + 5


def _same_question(query: bytes, answer: bytes) -> bool:
    end = _question_end(query)
    return len(answer) >= end and bool(answer[2] & 0x80) and answer[_HEADER:end].lower() == query[_HEADER:end].lower()


def _is_address(word: str) -> bool:
    family = socket.AF_INET6 if ":" in word else socket.AF_INET
    try:
        socket.inet_pton(family, word)
    except OSError:
        return False
    return True

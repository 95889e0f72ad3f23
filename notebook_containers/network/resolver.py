"""What answers the names of a store's containers: one process for all its networks, while a container is in one of them.

Each container asks at 127.0.0.11 in its own network namespace. The sockets there were made by whoever attached it
(:mod:`~notebook_containers.network.naming`) and handed over, so this process needs no privilege, nothing of the host listens, no firewall
rule has to let names pass, and who asks is known by the socket. It ends when the last container has ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from notebook_containers.network.answers import Answers
from notebook_containers.network.carry import Loop
from notebook_containers.network.directory import Directory, member_from
from notebook_containers.network.upstream import Upstream

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_DATAGRAMS_AT_ONCE = 64
_STREAMS_PER_CONTAINER = 32
_LONGEST_MESSAGE = 1 << 18
_FIRST_COMES_WITHIN_S = 20.0
_DOUBT_S = 0.2


class Resolver:
    """Answers containers, and listens to those who attach them."""

    def __init__(self, control: socket.socket, lock: str, *, loop: Loop | None = None) -> None:
        self._control, self._lock = control, lock
        self._loop = loop or Loop()
        self._directory = Directory()
        self._answers = Answers(self._directory)
        self._upstream = Upstream(self._loop)
        self._here: dict[str, Station] = {}
        self._ends_at: float | None = monotonic() + _FIRST_COMES_WITHIN_S
        control.setblocking(False)
        self._loop.watch(control, _READ, self._accept)

    def serve(self) -> None:
        """Answer until no container is left."""
        self._loop.run(self._wait)

    def _wait(self) -> float | None:
        due = self._upstream.wait()
        if self._ends_at is None:
            return due
        left = self._ends_at - monotonic()
        if left <= 0:
            self._end()
            left = _DOUBT_S if self._loop.running else 0.0
        return left if due is None else min(due, left)

    def _end(self) -> None:
        """End, unless somebody is about to hand a container over: that one holds the lock."""
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            self._ends_at = monotonic() + _DOUBT_S
            return
        with suppress(OSError):
            os.unlink(self._control.getsockname())
        self._loop.running = False  # and with the process the lock goes

    def _accept(self, _events: int) -> None:
        with suppress(OSError):
            client, _ = self._control.accept()
            client.setblocking(False)
            self._loop.watch(client, _READ, lambda _events: self._hear(client))

    def _hear(self, client: socket.socket) -> None:
        """Do what a message says and answer "ok", or say why not."""
        descriptors: list[int] = []
        try:
            data, descriptors, _flags, _address = socket.recv_fds(client, _LONGEST_MESSAGE, 3)
            words = json.loads(data) if data else None
            if isinstance(words, dict):
                client.send(self._do(words, descriptors))
        except (OSError, ValueError, KeyError) as err:
            with suppress(OSError):
                client.send(f"failed {err}".encode())
        finally:
            for descriptor in descriptors:
                with suppress(OSError):
                    os.close(descriptor)
            self._loop.forget(client)

    def _do(self, words: dict[str, object], descriptors: list[int]) -> bytes:
        member = member_from(words)
        if not member.places:
            self._drop(member.id)
            return b"ok"
        if descriptors:
            self._drop(member.id)
            alive, datagrams, streams = (os.dup(descriptor) for descriptor in descriptors)
            self._here[member.id] = Station(self, member.id, alive, socket.socket(fileno=datagrams), socket.socket(fileno=streams))
        elif member.id not in self._here:
            return b"unknown"
        self._ends_at = None
        self._directory.put(member)
        self._answers.forget()
        return b"ok"

    def _drop(self, member_id: str) -> None:
        station = self._here.pop(member_id, None)
        if station is not None:
            station.close()
        self._directory.drop(member_id)
        self._answers.forget()
        if not self._here:
            self._ends_at = monotonic()

    # what stations need -----------------------------------------------------------------------------------------------------------

    def gone(self, member_id: str) -> None:
        """Forget a container that has ended."""
        self._drop(member_id)

    def watch(self, sock: socket.socket | int, events: int, callback: Callable[[int], None]) -> None:
        """Wait for a socket."""
        self._loop.watch(sock, events, callback)

    def forget(self, sock: socket.socket) -> None:
        """Close a socket."""
        self._loop.forget(sock)

    def answer(self, member_id: str, query: bytes, reply: Callable[[bytes], None], *, stream: bool) -> None:
        """Answer a container's question, now or when a server outside has."""
        asker = self._directory.member(member_id)
        if asker is None:
            return
        answer = self._answers.answer(asker, query, stream=stream)
        if answer is None:
            self._upstream.ask(query, reply, servers=asker.servers, stream=stream)
        elif answer:
            reply(answer)


class Station:
    """The sockets of one container, and the descriptor that says that it has ended."""

    def __init__(self, resolver: Resolver, member_id: str, alive: int, datagrams: socket.socket, streams: socket.socket) -> None:
        self._resolver, self._id, self._alive = resolver, member_id, alive
        self._datagrams, self._streams = datagrams, streams
        self._open: set[Stream] = set()
        for sock in (datagrams, streams):
            sock.setblocking(False)
        resolver.watch(alive, _READ, lambda _events: resolver.gone(member_id))
        resolver.watch(datagrams, _READ, self._read)
        resolver.watch(streams, _READ, self._accept)

    def close(self) -> None:
        """Give the sockets up: they alone keep the container's network namespace."""
        self._resolver.watch(self._alive, 0, lambda _events: None)
        os.close(self._alive)
        for stream in [*self._open]:
            stream.close()
        for sock in (self._datagrams, self._streams):
            self._resolver.forget(sock)

    def _read(self, _events: int) -> None:
        with suppress(OSError):
            for _ in range(_DATAGRAMS_AT_ONCE):
                query, client = self._datagrams.recvfrom(4096)
                self._resolver.answer(self._id, query, self._replier(client), stream=False)

    def _replier(self, client: tuple[object, ...]) -> Callable[[bytes], None]:
        def reply(answer: bytes) -> None:
            with suppress(OSError):
                self._datagrams.sendto(answer, client)

        return reply

    def _accept(self, _events: int) -> None:
        with suppress(OSError):
            client, _ = self._streams.accept()
            if len(self._open) >= _STREAMS_PER_CONTAINER:
                client.close()
                return
            self._open.add(Stream(self, client))

    def ask(self, query: bytes, reply: Callable[[bytes], None]) -> None:
        """Answer what came over a connection."""
        self._resolver.answer(self._id, query, reply, stream=True)

    def watch(self, sock: socket.socket, events: int, callback: Callable[[int], None]) -> None:
        """Wait for a socket."""
        self._resolver.watch(sock, events, callback)

    def closed(self, stream: Stream, sock: socket.socket) -> None:
        """Forget a connection."""
        self._open.discard(stream)
        self._resolver.forget(sock)


class Stream:
    """A tcp connection of a container: messages with their length in front, each answered when it is complete."""

    def __init__(self, station: Station, sock: socket.socket) -> None:
        self._station, self._sock = station, sock
        self._come, self._going = bytearray(), bytearray()
        self._open = True
        sock.setblocking(False)
        station.watch(sock, _READ, self._move)

    def close(self) -> None:
        """Close it; answers that come later are nobody's."""
        if self._open:
            self._open = False
            self._station.closed(self, self._sock)

    def _move(self, events: int) -> None:
        try:
            if events & _WRITE:
                self._flush()
            data = self._sock.recv(65535) if events & _READ else None
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data == b"":
            self.close()
            return
        self._come += data or b""
        while self._open and len(self._come) > 1 and len(self._come) >= 2 + (size := struct.unpack_from(">H", self._come)[0]):
            query = bytes(self._come[2 : 2 + size])
            del self._come[: 2 + size]
            self._station.ask(query, self._reply)

    def _reply(self, answer: bytes) -> None:
        if self._open:
            self._going += struct.pack(">H", len(answer)) + answer
            try:
                self._flush()
            except OSError:
                self.close()

    def _flush(self) -> None:
        if self._going:
            with suppress(BlockingIOError):
                del self._going[: self._sock.send(self._going)]
        self._station.watch(self._sock, _READ | (_WRITE if self._going else 0), self._move)

"""What a caller holds of a running process: its output as it comes, its input, its window, and at the end its exit code."""

from __future__ import annotations

import os
import select
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from notebook_containers.errors import RuntimeFailure
from notebook_containers.linux import process as processes
from notebook_containers.runtime import wire
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.state import ContainerState

_CHUNK = 65536
_AFTER_EXIT_S = 0.2


class Connection:
    """A control connection to a monitor (or to an exec's parent): one request, one answer, then frames. Thread-safe for one reader."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = wire.Reader()
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, bytes]] = []
        self.fds: list[int] = []

    def ask(self, request: Table) -> Table:
        """Send a request and return its answer; raises the error the answer carries, RuntimeFailure when the other side is gone."""
        self.send(wire.REQUEST, request)
        return self.answer()

    def send(self, kind: int, value: Table | bytes) -> None:
        """Send one frame; RuntimeFailure when the other side is gone."""
        data = wire.frame(kind, value) if isinstance(value, bytes) else wire.json_frame(kind, value)
        try:
            with self._lock:
                self._sock.sendall(data)
        except OSError as err:
            raise RuntimeFailure(f"the container's monitor cannot be reached: {err.strerror}") from err

    def answer(self) -> Table:
        """Return the ANSWER that comes next; frames before it are kept."""
        kept: list[tuple[int, bytes]] = []
        while (received := self.receive()) is not None:
            if received[0] == wire.ANSWER:
                self._waiting = kept + self._waiting
                value = wire.parse(received[1])
                wire.raise_error(value)
                return value
            kept.append(received)
        raise RuntimeFailure("the container's monitor ended before it answered", hint="see the container's state")

    def receive(self, timeout_s: float | None = None) -> tuple[int, bytes] | None:
        """Return the next frame, or None at the end; TimeoutError after ``timeout_s`` without one."""
        while not self._waiting:
            if timeout_s is not None and not _readable(self._sock.fileno(), timeout_s):
                raise TimeoutError
            try:
                data, fds = processes.recv_fds(self._sock, _CHUNK, 4)
            except ConnectionError:
                return None
            self.fds += fds
            if not data:
                return None
            self._reader.feed(data)
            self._waiting += self._reader.frames()
        return self._waiting.pop(0)

    def buffered(self) -> bool:
        """Tell whether received frames wait."""
        return bool(self._waiting)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._sock.fileno()

    def hang_up(self) -> None:
        """Wake whoever waits for a frame: no more will come."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up and let go of the socket. Idempotent."""
        self._sock.close()


def _readable(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(timeout_s, 0) * 1000))


class Session(ABC):
    """A process's streams. Iterate for ``(stream, bytes)`` until it ends; then ``exit_code`` is set. Close it, or use it in ``with``.

    One thread may iterate while another writes.
    """

    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal
        self.exit_code: int | None = None
        self.lost_bytes = 0

    @abstractmethod
    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yield what the process writes, as it comes; with a terminal everything is ``stdout``."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send input; blocks while the process does not take it."""

    @abstractmethod
    def close_stdin(self) -> None:
        """End the input."""

    @abstractmethod
    def resize(self, rows: int, cols: int) -> None:
        """Tell the terminal its size; nothing happens without one."""

    @abstractmethod
    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is more; what :meth:`buffered` tells of comes first."""

    def buffered(self) -> bool:
        """Tell whether output was received that the iterator has not yielded yet."""
        return False

    @abstractmethod
    def detach(self) -> None:
        """End the iteration from another thread; the process goes on, and ``exit_code`` stays None."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the process; it goes on. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class AttachSession(Session):
    """The container's first process, through its monitor. ``lost_bytes`` counts what was dropped because this reader stalled."""

    def __init__(self, connection: Connection, *, terminal: bool, before: Iterator[tuple[str, bytes]], ended: Callable[[], int]) -> None:
        super().__init__(terminal=terminal)
        self._connection = connection
        self._before = before
        self._detached = False
        self._ended = ended

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yield the log so far, if asked for, then the output as it comes."""
        yield from self._before
        while self.exit_code is None:
            received = self._connection.receive()
            if received is None and self._detached:
                return
            if received is None:
                self.exit_code = self._ended()
            elif received[0] in wire.STREAMS:
                yield wire.STREAMS[received[0]], received[1]
            elif received[0] == wire.LOST:
                self.lost_bytes += int(received[1])
            elif received[0] == wire.EXIT:
                code = wire.parse(received[1]).get("exitCode")
                self.exit_code = code if isinstance(code, int) else self._ended()

    def write(self, data: bytes) -> None:
        """Send input; blocks while the process does not take it."""
        for start in range(0, len(data), _CHUNK):
            self._connection.send(wire.STDIN, data[start : start + _CHUNK])

    def close_stdin(self) -> None:
        """End the input."""
        self._connection.send(wire.STDIN, b"")

    def resize(self, rows: int, cols: int) -> None:
        """Tell the terminal its size; nothing happens without one."""
        self._connection.send(wire.REQUEST, {"op": "resize", "rows": rows, "cols": cols})

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        return self._connection.fileno()

    def buffered(self) -> bool:
        """Tell whether output was received that the iterator has not yielded yet."""
        return self._connection.buffered()

    def detach(self) -> None:
        """End the iteration from another thread; the container goes on, and its input stays open."""
        self._detached = True
        with suppress(RuntimeFailure):
            self._connection.send(wire.REQUEST, {"op": "detach"})
        self._connection.hang_up()

    def close(self) -> None:
        """Let go of the container; it goes on."""
        self._connection.close()


class Made:
    """A container that was just made, over the connection on which it was asked for: start it there, or close it and start it later."""

    def __init__(self, connection: Connection, state: ContainerState | None, ended: Callable[[], int]) -> None:
        self._connection, self._state, self._ended = connection, state, ended

    @property
    def state(self) -> ContainerState:
        """Its state before the start; only for one that was not started with its making."""
        assert self._state is not None
        return self._state

    def start(self, *, attach: bool = False, stdin: bool = False) -> AttachSession | None:
        """Let the command run; with ``attach`` return a session that misses no byte. The connection is used up, also by StartFailed."""
        try:
            answer = self._connection.ask({"op": "start", "attach": attach, "stdin": stdin})
        except BaseException:
            self.close()
            raise
        return self.session(answer, attach=attach)

    def session(self, answer: Table, *, attach: bool) -> AttachSession | None:
        """Return what ``start`` was asked for, from its answer."""
        if not attach:
            self.close()
            return None
        return AttachSession(self._connection, terminal=answer.get("terminal") is True, before=iter(()), ended=self._ended)

    def close(self) -> None:
        """Let go of the monitor; the container stays. Idempotent."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class ExecSession(Session):
    """A further process in the container; its streams are this session's own pipes, or its terminal."""

    def __init__(self, connection: Connection, streams: dict[int, str], stdin: int, *, terminal: bool) -> None:
        super().__init__(terminal=terminal)
        self._connection = connection
        self._streams = streams
        self._stdin = stdin
        self._ending = threading.Lock()
        self.on_detach: Callable[[], None] | None = None
        self._detached = False
        self._epoll = select.epoll()
        for fd in [*streams, connection.fileno()]:
            os.set_blocking(fd, True)
            self._epoll.register(fd, select.EPOLLIN)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yield output until the process has ended and what it wrote is read; a background child that holds on is not waited for."""
        over = False
        while not over or self._streams:
            events = self._epoll.poll(_AFTER_EXIT_S if over else None)
            if over and not events:
                break
            if self._detached:
                return
            for fd, _event in events:
                if fd in self._streams:
                    data = self._read(fd)
                    if data:
                        yield self._streams[fd], data
                elif not over:
                    over = self._hear()
        self._let_go()

    def _hear(self) -> bool:
        received = self._connection.receive()
        if received is not None and received[0] != wire.EXIT:
            return False
        code = wire.parse(received[1]).get("exitCode") if received is not None else None
        self.exit_code = code if isinstance(code, int) else 137
        self._epoll.unregister(self._connection.fileno())
        return True

    def _read(self, fd: int) -> bytes:
        try:
            data = os.read(fd, _CHUNK)
        except OSError:  # EIO: the last holder of the terminal is gone
            data = b""
        if not data:
            self._epoll.unregister(fd)
            del self._streams[fd]
            if fd != self._stdin:
                os.close(fd)
        return data

    def write(self, data: bytes) -> None:
        """Send input; blocks while the process does not take it, and drops it when the process has closed its input."""
        try:
            while data and self._stdin >= 0:
                data = data[os.write(self._stdin, data) :]
        except OSError:
            self.close_stdin()

    def close_stdin(self) -> None:
        """End the input: closes the pipe, or sends a terminal its end-of-file character."""
        if self.terminal:
            if self._stdin >= 0:
                os.write(self._stdin, b"\x04")
        elif (fd := self._take_stdin()) >= 0:
            os.close(fd)

    def _take_stdin(self) -> int:
        """Return the input's descriptor to one caller only: a thread that feeds it may end it while another lets go of everything."""
        with self._ending:
            fd, self._stdin = self._stdin, -1
        return fd

    def resize(self, rows: int, cols: int) -> None:
        """Tell the terminal its size; nothing happens without one."""
        if self.terminal and self._stdin >= 0:
            processes.set_window(self._stdin, rows, cols)

    def fileno(self) -> int:
        """Return a descriptor that is readable when output, or the end, is there."""
        return self._epoll.fileno()

    def detach(self) -> None:
        """End the iteration from another thread; the process goes on."""
        self._detached = True
        self._connection.hang_up()
        if self.on_detach is not None:
            self.on_detach()

    def close(self) -> None:
        """Let go of the process; it goes on, without readers."""
        self._let_go()
        self._connection.close()
        self._epoll.close()

    def _let_go(self) -> None:
        for fd in {*self._streams, self._take_stdin()} - {-1}:
            os.close(fd)
        self._streams = {}

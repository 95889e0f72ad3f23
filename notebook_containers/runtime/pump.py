"""Bytes between a container and the world: its output into the log and to attached clients, their input into it."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

from notebook_containers.runtime import wire
from notebook_containers.runtime.clients import Clients
from notebook_containers.runtime.container import Life
from notebook_containers.runtime.logfile import LogFile
from notebook_containers.runtime.loop import READ, WRITE, Loop

_CHUNK = 65536
_MOST = 1 << 18  # read at once from a pipe
_INPUT_BYTES = 65536
_DRAIN_S = 0.5

# A program that writes without end hands over a page at a time when each is fetched at once. To let some gather costs nobody anything,
# and a wake-up of this process for each would cost it most of its speed. Meanwhile the program must have room to go on: its pipe is made
# wider then (Linux lends an ordinary user 64 MiB of pipes, so not those of everybody at once).
_PIPE_BYTES, _FLOOD_PIPE_BYTES, _PAGE = 1 << 17, 1 << 20, 4096
_FLOOD_S, _FLOOD_READS, _GATHER_S, _TERMINAL_GATHER_S = 0.001, 2, 0.001, 0.0002


class Pump:
    """Moves bytes while one life of the container lasts; the next life is connected anew."""

    __slots__ = (
        "_clients",
        "_drained_at",
        "_held",
        "_input",
        "_input_ends",
        "_last",
        "_life",
        "_log",
        "_loop",
        "_read_at",
        "_streak",
        "_wide",
    )

    def __init__(self, loop: Loop, clients: Clients, log: LogFile | None) -> None:
        self._loop, self._clients, self._log = loop, clients, log
        self._life: Life | None = None
        self._input = bytearray()
        self._input_ends = self._held = False
        self._wide: set[int] = set()  # outputs whose pipe was made wider, or cannot be
        self._last = self._streak = 0  # how much was read last, and how often there was so much again at once
        self._drained_at = self._read_at = 0.0

    def connect(self, life: Life) -> None:
        """Begin with a new life."""
        self._life = life
        self._input.clear()
        self._input_ends = False
        self._wide.clear()
        for fd in life.outputs:
            _widen(fd, _PIPE_BYTES)
            self._loop.watch(fd, 0 if self._held else READ, self._output)

    def disconnect(self) -> None:
        """End with a life, before its descriptors are closed."""
        if self._life is not None:
            for fd in [*self._life.outputs, self._life.stdin, self._life.master]:
                self._loop.unwatch(fd)
        self._life = None

    # -- output --------------------------------------------------------------------------------------------------------------------

    def _output(self, fd: int) -> None:
        life = self._life
        if life is None or fd not in life.outputs:
            return
        quick = self._last >= _PAGE and time.monotonic() - self._read_at < _FLOOD_S
        self._streak = self._streak + 1 if quick else 0
        if self._streak >= _FLOOD_READS and self._last < _MOST:  # else more waits already
            self._let_gather(fd, life)
        try:
            data = os.read(fd, _MOST)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last holder of the terminal is gone
            data = b""
        if not data:
            self._loop.unwatch(fd)
            os.close(fd)
            del life.outputs[fd]
            return
        if self._log is not None:
            self._log.write(life.outputs[fd], data)
        self._clients.output(wire.STDOUT if life.outputs[fd] == "stdout" else wire.STDERR, data)
        self._last, self._read_at = len(data), time.monotonic()
        self._drained_at = self._read_at + _DRAIN_S

    def _let_gather(self, fd: int, life: Life) -> None:
        if life.master >= 0:
            time.sleep(_TERMINAL_GATHER_S)
            return
        if fd not in self._wide:
            self._wide.add(fd)
            _widen(fd, _FLOOD_PIPE_BYTES)
        time.sleep(_GATHER_S)

    def balance(self, now: float) -> None:
        """Stop reading from the container while an attached client is far behind, and go on when it has caught up."""
        clients = self._clients.attached()
        behind = [client for client in clients if client.holds(now=now)]
        held = not all(client.drained() for client in clients) if self._held else bool(behind)
        if held != self._held:
            self._held = held
            for fd in self._life.outputs if self._life is not None else ():
                self._loop.change(fd, 0 if held else READ)

    def begin_draining(self) -> None:
        """The process is over: what it wrote is still in the pipes."""
        self._drained_at = time.monotonic() + _DRAIN_S

    def drained(self, now: float) -> bool:
        """Tell whether everything was read: the pipes ended, or only a stranger that inherited them is left and writes nothing."""
        return self._life is None or not self._life.outputs or (self._drained_at <= now and not self._held)

    def drained_at(self) -> float:
        """Return when to look again."""
        return self._drained_at

    # -- input ---------------------------------------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Give the container input; empty bytes end it."""
        if not data and self._life is not None and self._life.master >= 0:
            data = b"\x04"  # a terminal has no other end of input than its character for it
        self._input += data
        self._input_ends = self._input_ends or not data
        self._feed(-1)

    def _feed(self, _fd: int) -> None:
        life = self._life
        target = -1 if life is None else life.master if life.master >= 0 else life.stdin
        if life is None or target < 0:
            self._input.clear()
            return
        try:
            while self._input:
                del self._input[: os.write(target, self._input[:_CHUNK])]
        except BlockingIOError:
            self._loop.watch(target, WRITE, self._feed)
            self._clients.mute(muted=len(self._input) > _INPUT_BYTES)
            return
        except OSError:
            self._input.clear()  # the container closed its input
        self._loop.unwatch(target)
        self._clients.mute(muted=False)
        if self._input_ends and life.stdin >= 0:
            os.close(life.stdin)
            life.stdin = -1


def _widen(fd: int, size: int) -> None:
    with suppress(OSError):  # it is a terminal, or its user has no more of such memory
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)

"""The monitor's side of one control connection: frames in, a bounded queue out."""

from __future__ import annotations

import os
import socket
import struct
import time

from notebook_containers.runtime import wire
from notebook_containers.runtime.document import Table

HIGH_BYTES, LOW_BYTES = 1 << 20, 1 << 18
STALL_S = 10.0


class Client:
    """One connection.

    Output waits in a queue. Above HIGH_BYTES the monitor stops reading from the container, so nothing is lost to a slow reader. A reader
    that takes nothing at all for STALL_S is given up: its output is dropped, and a LOST frame tells it how much, when it reads again.
    """

    __slots__ = ("_dropping", "_lost", "_moved", "_queue", "attached", "reader", "sends_input", "sock", "waits")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reader = wire.Reader()
        self.attached = False
        self.sends_input = False
        self.waits = False
        self._queue = bytearray()
        self._moved = time.monotonic()
        self._lost = 0
        self._dropping = False
        sock.setblocking(False)

    def trusted(self) -> bool:
        """Tell whether the peer is this user or root."""
        _pid, uid, _gid = struct.unpack("iII", self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return uid in (0, os.geteuid())

    def answer(self, value: Table) -> None:
        """Queue an ANSWER."""
        self._put(wire.json_frame(wire.ANSWER, value))

    def output(self, kind: int, data: bytes) -> None:
        """Queue what the container wrote."""
        if self._dropping:
            self._lost += len(data)
        else:
            self._put(wire.frame(kind, data))

    def exit(self, value: Table) -> None:
        """Queue the EXIT frame."""
        self._say_lost()
        self._put(wire.json_frame(wire.EXIT, value))

    def _put(self, data: bytes) -> None:
        if not self._queue:
            self._moved = time.monotonic()
        self._queue += data
        self.flush()

    def flush(self) -> None:
        """Send what the peer takes now; OSError when it is gone."""
        while self._queue:
            try:
                sent = self.sock.send(self._queue[:HIGH_BYTES])
            except BlockingIOError:
                return
            del self._queue[:sent]
            self._moved = time.monotonic()
        if self._dropping:
            self._dropping = False
            self._say_lost()

    def _say_lost(self) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            self._put(wire.frame(wire.LOST, str(lost).encode()))

    def pending(self) -> bool:
        """Tell whether output waits."""
        return bool(self._queue)

    def full(self, *, now: float) -> bool:
        """Tell whether the container should wait for this client; a stalled one is given up here."""
        if self._dropping or len(self._queue) < HIGH_BYTES:
            return False
        self._dropping = now - self._moved >= STALL_S
        return not self._dropping

    def drained(self) -> bool:
        """Tell whether the container may go on."""
        return self._dropping or len(self._queue) <= LOW_BYTES

    def stalled(self, *, now: float) -> bool:
        """Tell whether the peer took nothing for STALL_S although output waits."""
        return bool(self._queue) and now - self._moved >= STALL_S

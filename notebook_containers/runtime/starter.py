"""The engine's end of the spawner: started on first use, replaced when it died, closed with the engine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress

from notebook_containers.errors import RuntimeFailure, Unsupported
from notebook_containers.linux import process as processes
from notebook_containers.runtime.interpreter import ENVIRONMENT, directory, unwritable

_CODE = "import sys; sys.path.insert(0, {directory!r}); from notebook_containers.runtime.spawner import main; main({fd})"
_READY = b"ready"


class Starter:
    """A warm spawner; thread-safe. :meth:`send` never blocks on what it starts.

    ``leaving`` is for a process that ends right after it closes this: it does not wait until the spawner has ended too.
    """

    def __init__(self, *, leaving: bool = False) -> None:
        self._leaving = leaving
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def warm(self) -> None:
        """Start the spawner now, so that the first container need not wait for it."""
        with self._lock:
            self._running()

    def send(self, word: bytes, fds: list[int]) -> None:
        """Send a request; a spawner that has died is replaced once. RuntimeFailure when none can be started."""
        with self._lock:
            for attempt in (0, 1):
                try:
                    processes.send_fds(self._running(), word, fds)
                except OSError as err:
                    self._stop()
                    if attempt:
                        raise RuntimeFailure(f"cannot reach the process that starts containers: {err.strerror}") from err
                else:
                    return

    def hint(self, word: bytes) -> None:
        """Send what nothing depends on, to a spawner that runs."""
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.send(word, socket.MSG_DONTWAIT)

    def _running(self) -> socket.socket:
        if self._socket is None or self._process is None or self._process.poll() is not None:
            self._stop()
            self._socket, self._process = _start()
            _delegate(self._process.pid)
            with suppress(OSError):  # a spawner that has died already is replaced when it is needed
                processes.send_fds(self._socket, _READY, [])
        return self._socket

    def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket = self._process = None

    def pid(self) -> int:
        """Return the spawner's pid, starting it if need be."""
        with self._lock:
            self._running()
            return self._process.pid if self._process is not None else 0

    def close(self) -> None:
        """End the spawner; containers go on. Idempotent."""
        with self._lock:
            if self._leaving and self._socket is not None:
                self._socket.close()
            else:
                self._stop()


def _delegate(pid: int) -> None:
    """Put an ordinary user's spawner where groups can be made, so that limits hold; where that fails, each run says what does not."""
    if os.geteuid() == 0:
        return
    from notebook_containers.linux import delegation

    if os.path.exists(delegation.UNIFIED):
        try:
            delegation.adopt(pid)
        except (OSError, ImportError, ValueError):
            return


def _start() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    if sys.platform != "linux":
        raise Unsupported("containers need Linux")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = _CODE.format(directory=directory(), fd=theirs.fileno())
    image = unwritable(sys.executable)
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-E", "-c", code],
            executable=f"/proc/self/fd/{image}",
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=(theirs.fileno(), image),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    except OSError as err:
        ours.close()
        raise RuntimeFailure(f"cannot start {sys.executable}: {err.strerror}") from err
    finally:
        theirs.close()
        os.close(image)
    return ours, process

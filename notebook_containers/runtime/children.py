"""A monitor's children, and the signal that asks it to end, as events of its loop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from notebook_containers.runtime.loop import READ, Loop


def watch(loop: Loop, died: Callable[[int, int], None], asked_to_end: Callable[[], None]) -> None:
    """Call ``died(pid, status)`` for each child that the loop finds ended, reaped by then, and ``asked_to_end()`` at a SIGTERM."""

    def signalled(fd: int) -> None:
        if signal.SIGTERM in os.read(fd, 4096):
            asked_to_end()
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            died(pid, status)

    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    loop.watch(reading, READ, signalled)

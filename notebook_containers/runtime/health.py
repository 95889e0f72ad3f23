"""A container's health as its monitor keeps it: when to check next, and what the results mean (Docker's rules, moby daemon/health.go).

Nothing is polled: between two checks the monitor sleeps until :meth:`Health.due`. Durations in the bundle are nanoseconds, as in images.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from notebook_containers.runtime import document, probe, wire
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.loop import READ, Loop

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_INTERVAL_S, _TIMEOUT_S, _START_INTERVAL_S, _RETRIES, _KEPT_RESULTS = 30.0, 30.0, 5.0, 3, 5


class Health:
    """The check of ``monitor.json``'s ``health`` object, or none.

    ``checked(status)`` is called after each check, with the status when that became another, else with an empty text.
    """

    __slots__ = ("_began", "_check", "_checked", "_due", "_log", "_loop", "_running", "_status", "_streak", "_void")

    def __init__(self, check: Table, loop: Loop, checked: Callable[[str], None]) -> None:
        self._check, self._loop, self._checked = check, loop, checked
        self._due = self._began = 0.0
        self._running = False  # a check is on its way: the next is due only after its answer
        self._void = False  # and that answer will mean nothing: the container was paused or ended meanwhile
        self._status, self._streak = STARTING, 0
        self._log: list[Table] = []

    def exists(self) -> bool:
        """Tell whether there is a check at all."""
        return bool(self._check)

    def begin(self) -> None:
        """Start over with a new life of the container."""
        if self._check:
            self._status, self._streak, self._began = STARTING, 0, time.monotonic()
            self.resume()

    def resume(self) -> None:
        """Go on after a pause; the first check is one interval away."""
        if self._check and self._began:
            self._due = time.monotonic() + self._interval()

    def pause(self) -> None:
        """Check no more until :meth:`resume`."""
        self._due = 0.0
        self._void = self._running

    def end(self) -> None:
        """The container's life is over; what is known stays."""
        self.pause()
        self._began = 0.0

    def due(self) -> float:
        """Return when to check next on the monotonic clock, 0.0 for not at all."""
        return 0.0 if self._running else self._due

    def start(self, state: Table, process: Table) -> None:
        """Run the check now in the container of ``state``, with what ``process`` (the Spec's) has of environment, user and rights."""
        self._running = True
        own = {**process, "args": document.texts(self._check, "args"), "terminal": False}
        _pid, answer = probe.start({**state, "process": own}, self._seconds("timeout", _TIMEOUT_S))
        os.set_blocking(answer, False)
        self._loop.watch(answer, READ, self._hear)

    def _hear(self, fd: int) -> None:
        try:
            data = os.read(fd, 65536)  # one small write: all of it, or nothing when the check was killed
        except BlockingIOError:
            return
        self._loop.unwatch(fd)
        os.close(fd)
        void, self._void, self._running = self._void, False, False
        if not void:
            self._take(wire.parse(data) if data else {})

    def _take(self, answer: Table) -> None:
        """Account for a finished check; an empty answer is one that died."""
        now = time.time()
        code = document.number(answer, "exitCode", probe.FAILED)
        result: Table = {"Start": _text(document.real(answer, "start") or now), "End": _text(document.real(answer, "end") or now)}
        result.update(ExitCode=code, Output=document.text(answer, "output", "the check was killed"))
        self._log = [*self._log, result][-_KEPT_RESULTS:]
        before = self._status
        self._judge(code)
        self._due = time.monotonic() + self._interval()
        self._checked(self._status if self._status != before else "")

    def _judge(self, code: int) -> None:
        if code == 0:
            self._status, self._streak = HEALTHY, 0
            return
        if self._status == STARTING and self._in_start_period():
            return
        self._streak += 1
        if self._streak >= (document.number(self._check, "retries") or _RETRIES):
            self._status = UNHEALTHY

    def _interval(self) -> float:
        if self._status == STARTING and self._in_start_period():
            return self._seconds("startInterval", _START_INTERVAL_S)
        return self._seconds("interval", _INTERVAL_S)

    def _in_start_period(self) -> bool:
        return time.monotonic() - self._began < self._seconds("startPeriod", 0.0)

    def _seconds(self, key: str, default: float) -> float:
        return document.number(self._check, key) / 1e9 or default

    def table(self) -> Table:
        """Return docker's ``State.Health``."""
        return {"Status": self._status, "FailingStreak": self._streak, "Log": self._log}


def _text(moment: float) -> str:
    seconds, fraction = divmod(moment, 1)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(fraction * 1e9):09d}Z"

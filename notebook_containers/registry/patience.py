"""How long and how often something is tried again: pauses that grow, with jitter, ``Retry-After``, and an end."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from notebook_containers.errors import RegistryError
from notebook_containers.registry.settings import Timeouts

AGAIN = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that another attempt may not meet."""
_LONGEST_PAUSE_S = 20.0
_LONGEST_HEADER = 64


class Stopped(RegistryError):
    """The transfer was interrupted, or another part of it failed."""


class Patience:
    """Counts the attempts of one thing; ``stop`` ends every wait at once.

    Pauses double from ``pause_s`` and are drawn from the upper half of their range (jitter), or are what the server asks for.
    """

    def __init__(
        self, timeouts: Timeouts, stop: threading.Event, *, more_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._timeouts, self._stop, self._clock = timeouts, stop, clock
        self._end = clock() + timeouts.deadline_s + more_s
        self._attempts = 0

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._clock() > self._end

    def progressed(self) -> None:
        """Say that something came through: the next failure is a first one (the deadline stays)."""
        self._attempts = 0

    def check(self) -> None:
        """Raise Stopped when it is over."""
        if self._stop.is_set():
            raise Stopped("the transfer was stopped")

    def again(self, retry_after: float | None = None) -> bool:
        """Wait before another attempt; False (at once) when there is none, or when the wait would last beyond the deadline."""
        self._attempts += 1
        pause = min(self._timeouts.pause_s * 2 ** (self._attempts - 1), _LONGEST_PAUSE_S)
        pause = pause * random.uniform(0.5, 1.0) if retry_after is None else retry_after  # noqa: S311 spreads load, guards nothing
        if self._attempts >= self._timeouts.attempts or self._clock() + pause > self._end:
            return False
        self._stop.wait(pause)
        self.check()
        return True


def retry_after(text: str) -> float | None:
    """Return the seconds that a ``Retry-After`` value means (RFC 9110 section 10.2.3: a number or a date); None for anything else."""
    text = text.strip()[:_LONGEST_HEADER]
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year beyond C's integers
        return None
    return max((moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)

"""The user's terminal: raw mode for the length of a session, and Docker's detach keys."""

from __future__ import annotations

import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


class Detached(Exception):
    """The detach keys were typed."""


class KeyFilter:
    """Watches typed bytes for the detach keys; what may be their beginning is held back until the next key shows whether it was meant."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return the bytes to pass on; raises Detached when the sequence is complete."""
        data = self._held + data
        if self._keys in data:
            raise Detached
        held = next(size for size in range(len(self._keys) - 1, -1, -1) if data.endswith(self._keys[:size]))
        self._held = data[len(data) - held :]
        return data[: len(data) - held]


@contextmanager
def raw_mode(*, active: bool) -> Iterator[None]:
    """Put the terminal on standard input into raw mode and back."""
    if not active:
        yield
        return
    saved = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)

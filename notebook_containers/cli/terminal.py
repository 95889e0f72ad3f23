"""The user's terminal: raw mode for the length of a session, and Docker's detach keys."""

from __future__ import annotations

import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

DETACH_KEYS = b"\x10\x11"


class Detached(Exception):
    """The detach keys were typed."""


class KeyFilter:
    """Watches typed bytes for Ctrl-P Ctrl-Q; a Ctrl-P is held back until the next key shows whether it was meant."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return the bytes to pass on; raises Detached when the sequence is complete."""
        data, self._held = self._held + data, b""
        if DETACH_KEYS in data:
            raise Detached
        if data.endswith(DETACH_KEYS[:1]):
            data, self._held = data[:-1], DETACH_KEYS[:1]
        return data


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

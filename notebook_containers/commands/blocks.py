"""A block of lines at the end of a terminal that is drawn again and again, in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TextIO

INTERVAL_S = 0.125
"""Between two pictures."""


def moves(out: TextIO) -> bool:
    """Tell whether ``out`` is a terminal that can move its cursor."""
    return out.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Block:
    """Lines that stand where they were drawn last.

    No line is longer than the terminal is wide and the block not higher, however it is resized meanwhile. The cursor is moved up only
    over lines that were written here.
    """

    def __init__(self, out: TextIO) -> None:
        self._out, self._drawn = out, 0

    def draw(self, picture: Callable[[int], Sequence[str]]) -> None:
        """Draw what ``picture`` returns for the number of lines there is room for."""
        width, height = self._size()
        lines = [line[: width - 1] for line in picture(height - 1)]
        self._out.write(self._back() + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._out.flush()
        self._drawn = len(lines)

    @property
    def columns(self) -> int:
        """How long a line may be now."""
        return self._size()[0] - 1

    def clear(self) -> None:
        """Take it away."""
        self._out.write(self._back() + "\x1b[J")
        self._out.flush()
        self._drawn = 0

    def _back(self) -> str:
        return f"\r\x1b[{self._drawn}A" if self._drawn else "\r"

    def _size(self) -> tuple[int, int]:
        try:
            found = os.get_terminal_size(self._out.fileno())
        except (OSError, ValueError):
            return 80, 24
        return max(found.columns, 20) if found.columns else 80, max(found.lines, 4) if found.lines else 24

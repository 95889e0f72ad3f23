"""What is seen of a verb on a project: on a terminal one table that follows it, in a file or a pipe lines that only ever follow."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from notebook_containers.commands.blocks import INTERVAL_S, Block, moves
from notebook_containers.commands.text import one_line

if TYPE_CHECKING:
    from notebook_containers.commands.compose_board import Board
    from notebook_containers.compose.progress import Told


def stream_view(board: Board, out: TextIO) -> TerminalProjectView | PlainProjectView:
    """Return the view that suits ``out``."""
    return TerminalProjectView(board, out) if moves(out) else PlainProjectView(out)


class PlainProjectView:
    """Writes a line for each thing that is told."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._lock = out, threading.Lock()

    def __call__(self, event: Told) -> None:
        """Write an event's line at once."""
        with self._lock:
            self._out.write(f"{one_line(event.line(), limit=1000)}\n")
            self._out.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave it; an error is told by whoever catches it."""


class TerminalProjectView:
    """Draws the board in place, eight times a second at most; the last picture stays, with the warnings above it."""

    def __init__(self, board: Board, out: TextIO) -> None:
        self._board, self._out, self._block = board, out, Block(out)
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="nbc-project-view", daemon=True)

    def __call__(self, event: Told) -> None:
        """Take an event; never draws, so it costs the teller nothing."""
        with self._lock:
            self._board.take(event)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        with self._lock:
            self._board.end(error)
            self._block.clear()
            self._out.write("".join(f"WARNING: {one_line(text, limit=1000)}\n" for text in self._board.warnings))
            self._block.draw(self._board.lines)

    def _follow(self) -> None:
        while not self._over.wait(INTERVAL_S):
            with self._lock:
                self._block.draw(self._board.lines)

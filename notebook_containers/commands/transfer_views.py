"""A transfer on a terminal, one block of lines that is drawn again and again, and in a file or a pipe, lines that only ever follow.

A view is called with every event, from any thread, and is a context manager that says at its end how the transfer ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, TextIO

from notebook_containers.commands.blocks import INTERVAL_S, Block, moves
from notebook_containers.commands.transfers import Part, TransferState, Verb
from notebook_containers.registry.progress import BlobProgress, StreamProgress, TransferEvent, TransferStarted

LINES_PERIOD_S = 5.0
"""Between two lines of one layer in a file: a log of a long download is to grow slowly."""

_BAR = 24
_MOVING = frozenset({"downloading", "uploading", "extracting", "reading", "writing"})


def stream_view(verb: Verb, subject: str, out: TextIO) -> TerminalTransferView | PlainTransferView:
    """Return the view that suits ``out``: a terminal that can move its cursor gets bars, everything else lines."""
    state = TransferState(verb, subject)
    if moves(out):
        return TerminalTransferView(state, out)
    return PlainTransferView(state, out)


class PlainTransferView:
    """Writes a line when a layer begins to move, every five seconds while it does, and when it has ended; a sentence for each image."""

    def __init__(self, state: TransferState, out: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.state, self._out, self._clock = state, out, clock
        self._lock = threading.Lock()
        self._told: dict[str, tuple[str, float]] = {}
        self._heading = ""

    def __call__(self, event: TransferEvent) -> None:
        """Take an event; its lines are flushed at once."""
        with self._lock:
            self.state.take(event)
            if isinstance(event, TransferStarted):
                self._told.clear()
                self._heading = self.state.sentences()[-1]  # told when something moves: before that an error alone says it all
            elif isinstance(event, (BlobProgress, StreamProgress)):
                self._part(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._lock:
            self._heading = ""
            self.state.end(error)
            if error is None:  # an error is told in one line by whoever catches it
                self._write(*self.state.sentences())

    def _part(self, event: BlobProgress | StreamProgress) -> None:
        stream = self.state.stream if isinstance(event, StreamProgress) else None
        images = self.state.images
        part = stream or (images[-1].parts.get(event.digest) if images and isinstance(event, BlobProgress) else None)
        if part is None or part.phase == "waiting":
            return
        now = self._clock()
        # of an archive that is read at once the images alone are told
        phase, when = self._told.setdefault(part.name, (part.phase, now)) if stream else self._told.get(part.name, ("", 0.0))
        if part.ended and phase != part.phase and not stream:
            took = f" in {part.seconds:.1f}s" if part.phase == "done" else ""
            self._write(f"{part.name}: {part.phase} {part.amount()}".rstrip() + took)
        elif part.phase in _MOVING and (not phase or now - when >= LINES_PERIOD_S):
            self._write(" ".join(filter(None, (f"{part.name}: {part.phase}", part.amount(), part.speed()))))
        else:
            return
        self._told[part.name] = part.phase, now

    def _write(self, *lines: str) -> None:
        lines = (self._heading, *lines) if self._heading else lines
        self._heading = ""
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()


class TerminalTransferView:
    """Draws a line for each layer and one for the whole, eight times a second at most, in place; the last picture stays."""

    def __init__(self, state: TransferState, out: TextIO) -> None:
        self.state, self._block = state, Block(out)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="nbc-transfer-view", daemon=True)

    def __call__(self, event: TransferEvent) -> None:
        """Take an event; never draws, so it costs the transfer nothing."""
        with self._lock:
            self.state.take(event)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        with self._lock:
            self.state.end(error)
        if error is None or self.state.images or self.state.stream:  # before anything moved the caller's one line says it all
            self._draw()
        else:
            self._block.clear()

    def _follow(self) -> None:
        while not self._over.wait(INTERVAL_S):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            self._block.draw(lambda height: _picture(self.state, height))


def _picture(state: TransferState, height: int) -> list[str]:
    """Return at most ``height`` lines: of too many layers those that move, and how many more there are."""
    sentences = state.sentences()[-max(height // 2, 1) :]
    room = height - len(sentences)
    parts = state.parts()
    if len(parts) > room:
        first = sorted(parts, key=lambda part: (part.ended, part.phase == "waiting"))  # stable: from the bottom in each group
        shown = {id(part) for part in first[: max(room - 1, 0)]}
        rest = f"… and {len(parts) - len(shown)} more" if room else ""
        return [*terminal_lines([part for part in parts if id(part) in shown]), *([rest] if rest else ()), *sentences]
    return [*terminal_lines(parts), *sentences]


def terminal_lines(parts: list[Part], *, bars: bool = True) -> Iterator[str]:
    """Yield a line for each part: its name, phase, bar unless there are to be none, bytes and rate."""
    name = max((len(part.name) for part in parts), default=0)
    for part in parts:
        words = [f"{part.name:<{name}}", f"{part.phase:<11}", *([_bar(part)] if bars else ()), f"{part.amount():<18}", part.speed()]
        yield "  ".join(words).rstrip()


def _bar(part: Part) -> str:
    if part.share is None or part.phase in ("waiting", "exists", "mounted"):
        return " " * (_BAR + 2)
    full = round(part.share * _BAR)
    head = ">" if 0 < full < _BAR else ""
    return f"[{'=' * (full - len(head))}{head}{' ' * (_BAR - full)}]"

"""What a build shows while it works, for terminals, files and pipes: plain lines, never moving the cursor.

:class:`BuildState` keeps what all faces show: the steps with their state, and the last lines of each. A view is called with every event,
is a context manager, and says at its end how it ended; the notebook's view shows the same state in one display.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal, Self, TextIO

from notebook_containers.build.progress import (
    Event,
    FetchProgress,
    Hinted,
    ImageDone,
    PlanReady,
    StepDecided,
    StepDone,
    StepFailed,
    StepOutput,
    StepStarted,
    Warned,
)
from notebook_containers.commands import figures
from notebook_containers.commands.text import LineFilter, one_line, plain
from notebook_containers.lean import dataclass, field

FETCH_PERIOD_S = 5.0
"""Between two lines of one download: a log of a long one is to grow slowly."""
_RULE = "-" * 20
TAIL_LINES = 12
"""Lines of a step's output that are kept for showing; the whole output is not the view's business."""

Status = Literal["waiting", "running", "done", "cached", "failed", "stopped"]


@dataclass(slots=True, kw_only=True)
class StepState:
    """One step as it stands now; ``seconds`` and ``bytes_added`` are final once it has ended."""

    index: int
    line: int
    text: str
    stage: str = ""
    takes: tuple[str, ...] = ()
    status: Status = "waiting"
    reason: str = ""
    message: str = ""
    began: float = 0.0
    seconds: float = 0.0
    bytes_added: int = 0
    has_layer: bool = False
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    lines: dict[str, LineFilter] = field(default_factory=dict)

    def output(self, *, stream: str, data: bytes) -> list[str]:
        """Take a chunk of output and return the whole lines it completes; they join the tail."""
        lines = self.lines.setdefault(stream, LineFilter()).feed(data)
        self.tail.extend(lines)
        return lines

    def finish_output(self) -> list[str]:
        """Return unfinished last lines; they join the tail."""
        lines = [line for stream in self.lines.values() for line in stream.close()]
        self.tail.extend(lines)
        return lines

    def shown_tail(self) -> list[str]:
        """Return the last lines, the unfinished ones (a progress bar) included."""
        return [*self.tail, *(stream.current for stream in self.lines.values() if stream.current)][-TAIL_LINES:]

    def excerpt(self) -> str:
        """Return the instruction with its line number, and carets under it."""
        number = f"{self.line:>4} | "
        text = one_line(self.text, limit=76)
        return f"{number}{text}\n{' ' * len(number)}{'^' * max(len(text), 1)}"


class BuildState:
    """The steps of a build and how it ended, kept up to date by :meth:`take`; not locked, one thread at a time."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.began = clock()
        self.steps: dict[int, StepState] = {}
        self.warnings: list[Warned] = []
        self.hints: list[Hinted] = []
        self.fetches: dict[str, FetchProgress] = {}
        self.image: ImageDone | None = None
        self.error = ""
        self.ended = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the build began, or that it took."""
        return (self.ended or self._clock()) - self.began

    @property
    def failed(self) -> StepState | None:
        """The step that failed, if one did."""
        return next((step for step in self.steps.values() if step.status == "failed"), None)

    def step_seconds(self, step: StepState) -> float:
        """Return how long a step took, or has been running."""
        return (self.ended or self._clock()) - step.began if step.status == "running" else step.seconds

    def take(self, event: Event) -> None:
        """Bring the state up to date; output is taken by the step itself."""
        match event:
            case PlanReady():
                for s in event.steps:  # a second plan has the steps of the first, and more
                    self.steps.setdefault(s.index, StepState(index=s.index, line=s.line, text=s.text, stage=s.stage, takes=s.takes))
            case StepStarted():
                step = self.steps.setdefault(event.index, StepState(index=event.index, line=event.line, text=event.text))
                step.text, step.line, step.status, step.began = event.text, event.line, "running", self._clock()
            case StepDecided():
                self.steps[event.index].reason = event.reason
            case StepDone():
                step = self.steps[event.index]
                step.status, step.reason, step.seconds = "cached" if event.cached else "done", event.reason, event.seconds
                step.bytes_added, step.has_layer = event.bytes_added, event.layer is not None
            case StepFailed():
                step = self.steps[event.index]
                step.status, step.message, step.seconds = "failed", plain(event.message, limit=2000), event.seconds
            case Warned():
                self.warnings.append(event)
            case Hinted():
                self.hints.append(event)
            case FetchProgress():
                self.fetches[event.name] = event
            case ImageDone():
                self.image = event
            case StepOutput():
                pass

    def fetching(self) -> list[str]:
        """Return a line for each thing that is being fetched: ``fetching https://example.org/data 12 MB of 40 MB``."""
        return [fetch_line(each) for each in self.fetches.values() if not each.ended and not self.ended]

    def end(self, error: BaseException | None) -> None:
        """Say that the build is over; what still runs or waits is ``stopped`` when there was an error."""
        self.ended = self._clock()
        if error is None:
            return
        self.error = one_line(str(error), limit=500) or ("interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__)
        for step in self.steps.values():
            if step.status == "running":
                step.status, step.seconds = "stopped", self.ended - step.began

    def sentence(self) -> str:
        """Return how the build stands or ended: ``Built hello:latest (0123456789ab) in 3.2 s: 5 steps, 3 cached, 41.2 MB added``."""
        done = [step for step in self.steps.values() if step.status in ("done", "cached")]
        if self.image is not None:
            names = ", ".join(one_line(tag) for tag in self.image.tags)
            what = f"{names} ({self.image.image_id.short})" if names else self.image.image_id.short
            cached = sum(step.status == "cached" for step in done)
            added = sum(step.bytes_added for step in done if step.status == "done")
            counts = f"{figures.count(len(done), 'step')}, {cached} cached, {figures.size(added)} added"
            return f"Built {what} in {figures.seconds(self.seconds)}: {counts}"
        if self.failed is not None:
            return f"Build failed at step {self.failed.index} of {len(self.steps)} after {figures.seconds(self.seconds)}"
        if self.error:
            return f"Build stopped after {figures.seconds(self.seconds)}: {self.error}"
        if not self.steps:
            return "Building"
        return f"Building: {len(done)} of {figures.count(len(self.steps), 'step')} done, {figures.seconds(self.seconds)}"


def fetch_line(event: FetchProgress) -> str:
    """Return how far a fetch is, as one line."""
    amount, total = (figures.size(event.current), figures.size(event.total)) if event.unit == "bytes" else (event.current, event.total)
    word = "fetched" if event.ended else "fetching"
    return f"{word} {one_line(event.name, limit=200)} {amount}{f' of {total}' if event.total and not event.ended else ''}" + (
        "" if event.unit == "bytes" else f" {event.unit}"
    )


def remark(event: Warned | Hinted) -> str:
    """Return a warning or a hint as one line."""
    if isinstance(event, Hinted):
        return f"HINT: line {event.line}: {one_line(event.message, limit=1000)}"
    rule, where = f"{event.rule}: " if event.rule else "", f" (line {event.line})" if event.line else ""
    return f"WARNING: {rule}{one_line(event.message, limit=1000)}{where}"


def ending(state: BuildState) -> Iterator[str]:
    """Yield what stays below the steps of a build that has ended: remarks, and of a failed step its line and its last output."""
    yield from map(remark, state.warnings)
    yield from map(remark, state.hints)
    if state.failed is not None:
        yield from (_RULE, *state.failed.shown_tail(), *state.failed.excerpt().splitlines(), _RULE)


class PlainBuildView:
    """Writes each event as lines, as Docker's ``--progress plain`` does: ``#2 [2/4] RUN make``, ``#2 0.31 output``, ``#2 DONE 0.4s``."""

    def __init__(self, out: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.state = BuildState(clock=clock)
        self._out = out
        self._clock = clock
        self._told: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Take an event of the build; the lines are flushed at once."""
        self.state.take(event)
        match event:
            case StepStarted():
                self._write(event.index, f"[{event.index}/{event.total}] {one_line(event.text, limit=400)}")
            case StepDecided():
                self._write(event.index, f"{'rebuilt: ' if event.again else ''}{one_line(event.reason, limit=400)}")
            case StepOutput():
                step = self.state.steps[event.index]
                self._lines(step, step.output(stream=event.stream, data=event.data))
            case StepDone():
                self._done(self.state.steps[event.index])
            case StepFailed():
                step = self.state.steps[event.index]
                self._lines(step, step.finish_output())
                self._write(event.index, f"ERROR: {one_line(event.message, limit=1000)}")
            case Warned() | Hinted():
                self._out.write(remark(event) + "\n")
            case FetchProgress():
                self._fetch(event)
            case ImageDone() | PlanReady():
                pass
        self._out.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.state.end(error)
        failed = self.state.failed
        if failed is not None:
            self._out.write(f"{_RULE}\n{failed.excerpt()}\n{_RULE}\n")
        if error is None or self.state.steps:  # before the first step the caller's one line says it all
            self._out.write(self.state.sentence() + "\n")
        self._out.flush()

    def _done(self, step: StepState) -> None:
        self._lines(step, step.finish_output())
        self._write(step.index, "CACHED" if step.status == "cached" else f"DONE {step.seconds:.1f}s")

    def _fetch(self, event: FetchProgress) -> None:
        now = self._clock()
        last = self._told.setdefault(event.name, now)
        if event.ended or now - last >= FETCH_PERIOD_S:
            self._told[event.name] = now
            self._out.write(f"#0 {fetch_line(event)}\n")

    def _lines(self, step: StepState, lines: list[str]) -> None:
        for line in lines:
            self._write(step.index, f"{self._clock() - step.began:.2f} {line}")

    def _write(self, index: int, text: str) -> None:
        self._out.write(f"#{index} {text}\n")

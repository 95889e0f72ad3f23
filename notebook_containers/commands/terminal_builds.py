"""A build on a terminal: one block of lines, a step each with its last output while it runs, drawn again and again in place."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self, TextIO

from notebook_containers.build.progress import Event, StepDone, StepFailed, StepOutput
from notebook_containers.commands import figures
from notebook_containers.commands.blocks import INTERVAL_S, Block
from notebook_containers.commands.progress import BuildState, StepState, ending
from notebook_containers.commands.text import one_line

_TAIL = 6
"""Lines of output below a step that runs."""


class TerminalBuildView:
    """Draws the steps that have begun, in place; the last picture stays, with warnings, hints and the failed step below it.

    No line is longer than the terminal is wide and the block not higher: where there are too many, ended steps are left out first.
    """

    def __init__(self, out: TextIO) -> None:
        self.state, self._block = BuildState(), Block(out)
        self._out = out
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="nbc-build-view", daemon=True)

    def __call__(self, event: Event) -> None:
        """Take an event of the build; never draws, so it costs the build nothing."""
        with self._lock:
            self.state.take(event)
            if isinstance(event, StepOutput):
                self.state.steps[event.index].output(stream=event.stream, data=event.data)
            elif isinstance(event, (StepDone, StepFailed)):
                self.state.steps[event.index].finish_output()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        with self._lock:
            self.state.end(error)
        if error is None or self.state.steps:  # before the first step the caller's one line says it all
            self._draw()
        else:
            self._block.clear()
        self._out.write("".join(f"{line}\n" for line in ending(self.state)))
        self._out.flush()

    def _follow(self) -> None:
        while not self._over.wait(INTERVAL_S):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            self._block.draw(lambda height: _picture(self.state, self._block.columns, height))


def _picture(state: BuildState, width: int, height: int) -> list[str]:
    begun = [step for step in state.steps.values() if step.status != "waiting"]
    groups = [_step(state, step, width) for step in begun]
    room = max(height - 1 - len(state.fetching()), 1)
    hidden = 0
    for number, step in enumerate(begun):  # the oldest that have ended go first
        if sum(map(len, groups)) + bool(hidden) <= room:
            break
        if step.status != "running":
            hidden += len(groups[number])
            groups[number] = []
    rest = [f"=> … {figures.count(hidden, 'step')} above"] if hidden else []
    fetches = [one_line(f"=> {line}", limit=width) for line in state.fetching()]
    return [f"[+] {state.sentence()}", *rest, *(line for group in groups for line in group), *fetches][:height]


def _step(state: BuildState, step: StepState, width: int) -> list[str]:
    mark = {"cached": "CACHED ", "failed": "ERROR ", "stopped": "STOPPED "}.get(step.status, "")
    took = f"{state.step_seconds(step):.1f}s"
    text = one_line(f"=> {mark}[{step.index}/{len(state.steps)}] {step.text}", limit=max(width - len(took) - 1, 10))
    tail = step.shown_tail()[-_TAIL:] if step.status == "running" else []
    below = [step.reason] if step.status == "running" and step.reason and not tail else tail
    return [f"{text:<{width - len(took)}}{took}", *(one_line(f"=> => {line}", limit=width) for line in below)]

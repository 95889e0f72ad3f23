"""A build in the notebook: one display that follows it at most eight times a second, and stays as a static summary."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from notebook_containers.build.progress import Event, StepDone, StepFailed, StepOutput
from notebook_containers.commands import figures, plans
from notebook_containers.commands.plans import SIGNS
from notebook_containers.commands.progress import BuildState, PlainBuildView, StepState
from notebook_containers.commands.text import one_line
from notebook_containers.notebook.html import Markup, data_image, element, join
from notebook_containers.notebook.live import LiveView, Snapshot
from notebook_containers.notebook.plans import PlanDiagram

_MOST_DRAWN = 80
_LEFT = {"style": "text-align: left"}
_KEPT = "\N{NO-BREAK SPACE}"


def build_view(shell: object) -> BuildView | PlainBuildView:
    """Return the view that suits a shell: one updating display under a kernel, plain lines in a terminal's IPython."""
    return BuildView() if hasattr(shell, "kernel") else PlainBuildView(sys.stdout)


class BuildView(LiveView[BuildState]):
    """Follows a build in one display of the current cell; use it as a context manager around the build, and as its ``progress``.

    The display is made on entering. A thread of its own updates it, so a step that prints nothing still shows its seconds, and a flood of
    output costs no more than eight updates a second. On leaving, the last update stays: a summary, or the failed line with its output.
    """

    def __init__(self) -> None:
        super().__init__(BuildState(), name="build-view")

    def __call__(self, event: Event) -> None:
        """Take an event of the build; never draws, so it costs the build nothing."""
        with self.lock:
            self.state.take(event)
            if isinstance(event, StepOutput):
                self.state.steps[event.index].output(stream=event.stream, data=event.data)
            elif isinstance(event, (StepDone, StepFailed)):
                self.state.steps[event.index].finish_output()
        self.changed()

    def draw(self) -> Snapshot:
        """Return how it looks now."""
        return Snapshot(html=_html(self.state), text=_text(self.state))


def _html(state: BuildState) -> Markup:
    table = element("table", None, element("tbody", None, *(_row(state, step) for step in state.steps.values())))
    parts: list[str] = [element("div", None, element("strong", None, state.sentence()))]
    if not state.ended:
        parts += [_bar(state), *_picture(state), table] if state.steps else []
        parts += _running(state)
    elif state.steps:
        parts += _failure(state)
        summary = element("summary", None, figures.count(len(state.steps), "step"))
        parts.append(element("details", None, summary, *_picture(state), table))
    return join(*parts, *_warnings(state), *_hints(state))


def _picture(state: BuildState) -> Iterator[Markup]:
    """Draw the plan where it says more than the table does: with several stages, and not too many steps to be drawn again and again."""
    if len({step.stage for step in state.steps.values()}) > 1 and len(state.steps) <= _MOST_DRAWN:
        plan = plans.standing(state)
        yield data_image(PlanDiagram(plan).to_svg(themed=False), plan.sentence())


def _row(state: BuildState, step: StepState) -> Markup:
    took = "" if step.status in ("waiting", "cached") else figures.seconds(state.step_seconds(step))
    cells = (
        f"{SIGNS[step.status]} {step.status}",
        f"{step.index}/{len(state.steps)}",
        element("code", {"title": one_line(step.text, limit=2000)}, one_line(step.text, limit=90)),
        took,
        figures.size(step.bytes_added) if step.has_layer else "",
        join(one_line(step.reason, limit=110)),
    )
    return element("tr", None, *(element("td", _LEFT, cell if isinstance(cell, Markup) else cell.replace(" ", _KEPT)) for cell in cells))


def _bar(state: BuildState) -> Markup:
    done = sum(step.status in ("done", "cached") for step in state.steps.values())
    words = f"{done} of {figures.count(len(state.steps), 'step')}"
    return element("progress", {"value": done, "max": max(len(state.steps), 1)}, words)


def _running(state: BuildState) -> Iterator[Markup]:
    yield from (element("div", None, line) for line in state.fetching())
    for step in state.steps.values():
        if step.status == "running" and (tail := step.shown_tail()):
            yield element("pre", None, element("code", None, "\n".join(_cut(line) for line in tail)))


def _failure(state: BuildState) -> Iterator[Markup]:
    failed = state.failed
    if failed is None:
        return
    tail = failed.shown_tail()
    output = ("\n\n" + "\n".join(_cut(line) for line in tail)) if tail else ""
    yield element("pre", None, element("code", None, f"{failed.excerpt()}\n{failed.message}{output}"))


def _warnings(state: BuildState) -> Iterator[Markup]:
    for warning in state.warnings[:50]:
        where = f"line {warning.line}: " if warning.line else ""
        rule = f" [{warning.rule}]" if warning.rule else ""
        yield element("div", None, element("em", None, f"warning: {where}{one_line(warning.message, limit=400)}{rule}"))


def _hints(state: BuildState) -> Iterator[Markup]:
    for hint in state.hints:
        yield element("div", None, element("em", None, f"hint: line {hint.line}: {one_line(hint.message, limit=400)}"))


def _cut(line: str) -> str:
    """Return a line of output cut to what fits in a notebook, its spaces kept."""
    return line if len(line) <= 200 else line[:199] + "…"


def _text(state: BuildState) -> str:
    lines = [state.sentence()]
    for step in state.steps.values():
        size = figures.size(step.bytes_added) if step.has_layer else ""
        took = "" if step.status in ("waiting", "cached") else figures.seconds(state.step_seconds(step))
        lines.append(f"  {SIGNS[step.status]} {step.status:<7} {took:>9} {size:>9}  {one_line(step.text, limit=100)}")
    shown = state.failed or next((step for step in state.steps.values() if step.status == "running"), None)
    if state.failed is not None:
        lines += ["", state.failed.excerpt(), state.failed.message]
    if shown is not None:
        lines += [f"  | {line}" for line in shown.shown_tail()]
    lines += [f"  {line}" for line in state.fetching()]
    lines += [f"  warning: {one_line(w.message, limit=400)}" for w in state.warnings[:50]]
    lines += [f"  hint: line {h.line}: {one_line(h.message, limit=400)}" for h in state.hints]
    return "\n".join(lines)

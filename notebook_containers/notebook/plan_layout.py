"""Where the boxes of a build's plan go: a column for each depth of need, stages in it one below the other, and the time as bars below."""

from __future__ import annotations

from collections.abc import Iterator

from notebook_containers.commands import figures
from notebook_containers.commands.plans import SIGNS, BuildPlan, PlanStage, PlanStep
from notebook_containers.commands.text import one_line
from notebook_containers.notebook.drawing import Drawing, Shape, fit

_MARGIN, _GAP = 2.0, 4.0
_WIDTH, _BETWEEN, _APART = 300.0, 64.0, 18.0
_HEAD, _STEP = 28.0, 26.0
_NAME, _BAR, _LEAST_ROOM = 130.0, 22.0, 330.0
_ROLES = {"waiting": "empty", "cached": "own", "running": "shared-0", "done": "shared-2", "failed": "shared-5", "stopped": "shared-4"}


def draw_plan(plan: BuildPlan) -> Drawing:
    """Lay out the plan; pure, the same data gives the same drawing."""
    columns: dict[int, list[PlanStage]] = {}
    for stage in plan.stages:
        columns.setdefault(stage.depth, []).append(stage)
    heights = {depth: sum(_height(stage) + _APART for stage in stages) - _APART for depth, stages in columns.items()}
    tall = max(heights.values(), default=0.0)
    places: dict[str, tuple[float, float]] = {}
    for depth, stages in columns.items():
        y = _MARGIN + (tall - heights[depth]) / 2
        for stage in stages:
            places[stage.label] = (_MARGIN + depth * (_WIDTH + _BETWEEN), y)
            y += _height(stage) + _APART
    width = max((x for x, _y in places.values()), default=0.0) + _WIDTH + _MARGIN
    width = max(width, _MARGIN * 2 + _NAME + _LEAST_ROOM)
    boxes = [shape for stage in plan.stages for shape in _stage(stage, *places[stage.label])]
    bottom, times = _times(plan, tall + _MARGIN + _APART, width)
    return Drawing(width=width, height=bottom + _MARGIN, shapes=(*_needs(plan, places), *boxes, *times))


def _height(stage: PlanStage) -> float:
    return _HEAD + len(stage.steps) * (_STEP + _GAP)


def _stage(stage: PlanStage, x: float, y: float) -> Iterator[Shape]:
    took = sum(step.seconds for step in stage.steps if step.ran)
    found = "cached" if {step.status for step in stage.steps} in ({"cached"}, {"cached", "done"}) else ""
    words = figures.seconds(took) if took else found
    yield Shape(kind="rect", role="head", x=x, y=y, width=_WIDTH, height=_HEAD, radius=6, title=stage.label)
    name = fit(one_line(stage.label), _WIDTH - 100, 13)
    yield Shape(kind="text", role="head", x=x + 10, y=y + 19, lead=name, text="", size=13)
    yield Shape(kind="text", role="head", x=x + _WIDTH - 10, y=y + 19, text=words, size=11, anchor="end", opacity=0.9)
    for number, step in enumerate(stage.steps):
        yield from _step(step, x, y + _HEAD + _GAP + number * (_STEP + _GAP))


def _step(step: PlanStep, x: float, y: float) -> Iterator[Shape]:
    role, took = _ROLES[step.status], figures.seconds(step.seconds) if step.ran else "cached" if step.status == "cached" else ""
    yield Shape(kind="rect", role=role, x=x, y=y, width=_WIDTH, height=_STEP, title=_title(step))
    yield Shape(kind="text", role=role, x=x + 9, y=y + 17, text=SIGNS[step.status], size=12)
    yield Shape(kind="text", role=role, x=x + _WIDTH - 8, y=y + 17, text=took, size=10.5, anchor="end", opacity=0.9)
    lead, _, rest = fit(one_line(step.text), _WIDTH - 34 - 7 * (len(took) + 1), 11).partition(" ")
    yield Shape(kind="text", role=role, x=x + 26, y=y + 17, lead=lead, text=f" {rest}" if rest else "", size=11, code=True)


def _title(step: PlanStep) -> str:
    """Return what is shown on hover: the whole instruction, how it stands, why, how long."""
    took = f", {figures.seconds(step.seconds)}" if step.ran else ""
    return f"#{step.index} line {step.line}: {step.text}\n{step.status}{took}" + (f"\n{step.reason}" if step.reason else "")


def _needs(plan: BuildPlan, places: dict[str, tuple[float, float]]) -> Iterator[Shape]:
    """Draw a ribbon from the end of each stage to each step that takes from it."""
    by_label = {stage.label: (number, stage) for number, stage in enumerate(plan.stages)}
    for stage in plan.stages:
        for position, step in enumerate(stage.steps):
            for taken in step.takes:
                if taken in by_label and taken != stage.label:
                    number, other = by_label[taken]
                    x, y = places[taken]
                    x2, y2 = places[stage.label]
                    y += _height(other) - _STEP - _GAP + 8
                    y2 += _HEAD + _GAP + position * (_STEP + _GAP) + 8
                    role = f"shared-{number}"
                    yield Shape(kind="ribbon", role=role, x=x + _WIDTH, y=y, x2=x2, y2=y2, height=10, opacity=0.55)


def _times(plan: BuildPlan, y: float, width: float) -> tuple[float, list[Shape]]:
    """Draw a row of bars for each stage that ran; none where nothing did."""
    total = plan.seconds
    ran = [stage for stage in plan.stages if any(step.ran and step.seconds for step in stage.steps)]
    if not ran or total <= 0:
        return y - _APART, []
    left, room = _MARGIN + _NAME + _GAP, width - 2 * _MARGIN - _NAME - _GAP
    shapes = [
        Shape(kind="rect", role="head", x=_MARGIN, y=y, width=width - 2 * _MARGIN, height=20),
        Shape(kind="text", role="head", x=_MARGIN + 8, y=y + 14, text="when it ran", size=11),
        Shape(kind="text", role="head", x=left, y=y + 14, text="0 s", size=10.5),
        Shape(kind="text", role="head", x=width - _MARGIN - 6, y=y + 14, text=figures.seconds(total), size=10.5, anchor="end"),
    ]
    y += 20 + _GAP
    for stage in ran:
        shapes.append(Shape(kind="rect", role="own", x=_MARGIN, y=y, width=_NAME, height=_BAR))
        name = fit(one_line(stage.label), _NAME - 16, 11)
        shapes.append(Shape(kind="text", role="own", x=_MARGIN + 8, y=y + 15, text=name, size=11))
        shapes.append(Shape(kind="rect", role="empty", x=left, y=y, width=room, height=_BAR))
        shapes += [shape for step in stage.steps if step.ran for shape in _bar(step, left, y, room / total)]
        y += _BAR + _GAP
    return y - _GAP, shapes


def _bar(step: PlanStep, left: float, y: float, scale: float) -> Iterator[Shape]:
    role, long = _ROLES[step.status], max(step.seconds * scale, 1.5)
    x = left + (step.began or 0.0) * scale
    yield Shape(kind="rect", role=role, x=x, y=y + 1, width=long, height=_BAR - 2, radius=2, title=_title(step))
    text = fit(one_line(step.text), long - 8, 9.5)
    if long >= 50:
        yield Shape(kind="text", role=role, x=x + 5, y=y + 14.5, text=text, size=9.5, code=True)

"""A build's plan as data and text, and the picture of it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from notebook_containers.build.progress import PlannedStep, PlanReady, StepDone, StepFailed, StepStarted
from notebook_containers.build.solver import StepResult
from notebook_containers.commands import plans
from notebook_containers.commands.progress import BuildState
from notebook_containers.notebook.drawing import Shape
from notebook_containers.notebook.plan_layout import draw_plan
from notebook_containers.notebook.plans import PlanDiagram

STEPS = (
    PlannedStep(index=1, stage="tools", line=1, text="FROM base AS tools"),
    PlannedStep(index=2, stage="tools", line=2, text="RUN make tools"),
    PlannedStep(index=3, stage="web", line=3, text="FROM base AS web"),
    PlannedStep(index=4, stage="web", line=4, text="RUN make web"),
    PlannedStep(index=5, stage="app", line=5, text="FROM tools AS app", takes=("tools",)),
    PlannedStep(index=6, stage="3", line=6, text="FROM scratch"),
    PlannedStep(index=7, stage="3", line=7, text="COPY --from=app /app /", takes=("app",)),
    PlannedStep(index=8, stage="3", line=8, text="COPY --from=web /page /", takes=("web",)),
    PlannedStep(index=9, stage="3", line=9, text="CMD ['/app']"),
)


def result(index: int, status: str, began: float = 0, seconds: float = 0) -> StepResult:
    return StepResult(
        index=index, line=index, instruction="", status=status, reason="why", seconds=seconds, bytes_added=0, layer=None, began=100 + began
    )


RESULTS = (
    *(result(1, "metadata"), result(2, "built", 0, 2.0), result(3, "metadata"), result(4, "built", 0.5, 1.0)),
    *(result(5, "metadata", 2.0), result(6, "metadata", 2.0), result(7, "cached", 2.0)),
    *(result(8, "built", 2.0, 0.5), result(9, "metadata", 2.5)),
)  # fmt: skip


def test_depths_states_and_figures() -> None:
    plan = plans.built(STEPS, RESULTS)
    assert [(stage.label, stage.depth) for stage in plan.stages] == [("tools", 0), ("web", 0), ("app", 1), ("3", 2)]
    assert [step.status for step in plan.steps] == [*("cached", "done") * 2, "cached", "cached", "cached", "done", "done"]
    assert plan.sentence() == "4 stages, 9 steps, 5 cached, 2.5 s; 2 stages ran at once for 1.0 s"
    lines = plan.as_text().splitlines()
    assert lines[3] == "  ✓ #2   RUN make tools  2.0 s"
    assert lines[11] == "  ↺ #7   COPY --from=app /app /  <- app"


def test_what_was_not_built_waits() -> None:
    plan = plans.planned(STEPS)
    assert {step.status for step in plan.steps} == {"waiting"}
    assert plan.sentence() == "4 stages, 9 steps"
    assert plan.seconds == 0


def test_a_build_as_it_stands() -> None:
    now = [10.0]
    state = BuildState(clock=lambda: now[0])
    state.take(PlanReady(steps=STEPS))
    now[0] = 11.0
    state.take(StepStarted(index=2, total=9, line=2, text="RUN make tools"))
    state.take(StepStarted(index=4, total=9, line=4, text="RUN make web"))
    now[0] = 12.5
    state.take(StepDone(index=4, cached=False, reason="never built", seconds=1.5, bytes_added=1, layer=None))
    now[0] = 13.0
    plan = plans.standing(state)
    assert [(s.status, s.began, s.seconds) for s in plan.steps[1:4:2]] == [("running", 1.0, 2.0), ("done", 1.0, 1.5)]
    assert plan.sentence().endswith("3.0 s; 2 stages ran at once for 1.5 s")
    state.take(StepFailed(index=2, message="exit 3", seconds=2.2))
    assert plans.standing(state).steps[1].status == "failed"
    assert plans.standing(state).steps[1].reason == "exit 3"


def test_every_text_stands_on_a_filled_shape_inside_the_picture() -> None:
    long = PlannedStep(index=10, stage="3" * 80, line=10, text="RUN " + "very-long-" * 40, takes=("3",))
    drawing = draw_plan(plans.built((*STEPS, long), (*RESULTS, result(10, "built", 2.6, 0.4))))
    boxes = [shape for shape in drawing.shapes if shape.kind == "rect"]
    for shape in drawing.shapes:
        assert shape.x >= 0
        assert shape.x + shape.width <= drawing.width + 0.01
        assert shape.y + shape.height <= drawing.height
        if shape.kind == "text":
            assert any(_on(shape, box) for box in boxes), shape.text
    steps = [box for box in boxes if box.title.startswith("#") and box.width == 300]
    assert len(steps) == 10
    assert not any(_overlap(one, other) for i, one in enumerate(steps) for other in steps[:i])


def _on(text: Shape, box: Shape) -> bool:
    width = len(text.lead + text.text) * text.size * 0.61 * (1 if text.code else 0.93)
    left = text.x - width if text.anchor == "end" else text.x
    inside = box.x - 0.01 <= left and left + width <= box.x + box.width + 1 and box.y <= text.y <= box.y + box.height
    return inside and (box.role == text.role or box.role == "head")


def _overlap(one: Shape, other: Shape) -> bool:
    apart = one.x + one.width <= other.x or other.x + other.width <= one.x
    return not (apart or one.y + one.height <= other.y or other.y + other.height <= one.y)


def test_hostile_words_stay_text_and_the_svg_needs_nothing_else() -> None:
    attack = "</svg><script>alert(1)</script>\x1b]52;c;eA==\x07"
    step = PlannedStep(index=1, stage=attack, line=1, text=f"RUN {attack}")
    diagram = PlanDiagram(plans.planned([step]))
    svg = diagram.to_svg(themed=False)
    names = {element.tag.rpartition("}")[2] for element in ET.fromstring(svg).iter()}
    assert names == {"svg", "title", "desc", "rect", "text", "tspan"}
    assert "\x1b" not in svg
    assert "\x1b" not in diagram.to_text()
    assert "var(" not in svg
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", svg)


def test_no_steps_and_many() -> None:
    assert PlanDiagram(plans.planned([])).to_text() == "0 stages, 0 steps"
    assert PlanDiagram(plans.planned([])).to_svg().startswith("<svg")
    many = [PlannedStep(index=i, stage=str(i // 10), line=i, text=f"RUN echo {i}") for i in range(500)]
    assert len(PlanDiagram(plans.planned(many)).to_svg()) < 400_000

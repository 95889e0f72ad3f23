"""The plain view of a build, and the state that all views share."""

from __future__ import annotations

import io

import pytest

from notebook_containers.build.progress import (
    ImageDone,
    PlannedStep,
    PlanReady,
    StepDone,
    StepFailed,
    StepOutput,
    StepStarted,
    Warned,
)
from notebook_containers.commands.progress import TAIL_LINES, BuildState, PlainBuildView
from notebook_containers.oci.image import Digest

TEXTS = ("FROM localhost/base", 'RUN echo "hi"', "RUN make", 'CMD ["cat"]')
IMAGE = Digest("sha256:" + "0123456789ab" + "0" * 52)


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def plan() -> PlanReady:
    return PlanReady(steps=tuple(PlannedStep(index=i, stage="0", line=i, text=text) for i, text in enumerate(TEXTS, 1)))


def started(index: int) -> StepStarted:
    return StepStarted(index=index, total=len(TEXTS), line=index, text=TEXTS[index - 1])


def done(index: int, *, cached: bool = False, size: int = 0) -> StepDone:
    layer = Digest.of(b"x") if size else None
    return StepDone(index=index, cached=cached, reason="never built", seconds=0.4, bytes_added=size, layer=layer)


def test_a_good_build_reads_like_dockers_plain_progress() -> None:
    out, clock = io.StringIO(), Clock()
    with PlainBuildView(out, clock=clock) as view:
        view(plan())
        view(started(1))
        view(done(1, cached=True, size=30_000_000))
        view(started(2))
        clock.now += 0.31
        view(StepOutput(index=2, stream="stdout", data=b"hel"))
        view(StepOutput(index=2, stream="stdout", data=b"lo\nno newline"))
        view(Warned(line=2, message="quote it"))
        view(done(2, size=3072))
        view(ImageDone(image_id=IMAGE, tags=("hello:latest",)))
        clock.now += 2.89
    assert out.getvalue().splitlines() == [
        "#1 [1/4] FROM localhost/base",
        "#1 CACHED",
        '#2 [2/4] RUN echo "hi"',
        "#2 0.31 hello",
        "WARNING: quote it (line 2)",
        "#2 0.31 no newline",
        "#2 DONE 0.4s",
        "Built hello:latest (0123456789ab) in 3.2 s: 2 steps, 1 cached, 3.07 kB added",
    ]


def test_a_failed_step_shows_its_line_with_carets() -> None:
    out = io.StringIO()

    def build() -> None:
        with PlainBuildView(out, clock=Clock()) as view:
            view(plan())
            view(started(3))
            view(StepOutput(index=3, stream="stderr", data=b"no rule\n"))
            view(StepFailed(index=3, message="exit status 2", seconds=0.1))
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        build()
    lines = out.getvalue().splitlines()
    assert lines[1:3] == ["#3 0.00 no rule", "#3 ERROR: exit status 2"]
    assert lines[4:6] == ["   3 | RUN make", "       ^^^^^^^^"]
    assert lines[-1] == "Build failed at step 3 of 4 after 0 ms"


def test_jup04_output_cannot_control_the_terminal() -> None:
    out = io.StringIO()
    with PlainBuildView(out, clock=Clock()) as view:
        view(plan())
        view(started(2))
        view(StepOutput(index=2, stream="stdout", data=b"\x1b]52;c;eA==\x07\x1b[2J 10%\r 20%\n"))
        view(done(2))
    assert "#2 0.00  20%\n" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_an_interrupted_build_says_so() -> None:
    state = BuildState(clock=Clock())
    state.take(plan())
    state.take(started(2))
    assert state.sentence() == "Building: 0 of 4 steps done, 0 ms"
    state.end(KeyboardInterrupt())
    assert [step.status for step in state.steps.values()] == ["waiting", "stopped", "waiting", "waiting"]
    assert state.sentence() == "Build stopped after 0 ms: interrupted"


def test_only_the_tail_of_the_output_is_kept() -> None:
    state = BuildState(clock=Clock())
    state.take(plan())
    state.take(started(2))
    step = state.steps[2]
    for number in range(1000):
        step.output(stream="stdout", data=f"line {number}\n".encode())
    step.output(stream="stdout", data=b"  7%\r 8%")
    assert step.shown_tail() == [f"line {n}" for n in range(1000 - TAIL_LINES + 1, 1000)] + [" 8%"]


def test_streams_are_put_together_each_for_itself() -> None:
    state = BuildState(clock=Clock())
    state.take(plan())
    step = state.steps[2]
    step.output(stream="stdout", data=b"ou")
    assert step.output(stream="stderr", data=b"err\n") == ["err"]
    assert step.output(stream="stdout", data=b"t\n") == ["out"]

"""A build's plan as data for faces: stages with their steps, how each stands, when it ran; and the same as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.build.progress import PlannedStep
from notebook_containers.commands import figures
from notebook_containers.commands.progress import BuildState, Status
from notebook_containers.commands.text import one_line
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.build.solver import StepResult

SIGNS: Mapping[Status, str] = {"waiting": "·", "running": "▶", "done": "✓", "cached": "↺", "failed": "✗", "stopped": "■"}


_LEAST_S = 0.001
_FETCHED_S = 1.0
"""A FROM that took so long got its image from elsewhere; finding one that is here may take a moment on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """A step: how it stands, seconds since the build began when it started (None: not yet), how long it took, what it says of itself."""

    index: int
    line: int
    stage: str
    text: str
    takes: tuple[str, ...] = ()
    status: Status = "waiting"
    began: float | None = None
    seconds: float = 0.0
    reason: str = ""

    @property
    def ran(self) -> bool:
        """Whether it took time worth showing: it was done, is running or failed."""
        return self.status in ("running", "failed") or (self.status in ("done", "stopped") and self.seconds >= _LEAST_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStage:
    """A stage with its steps, FROM first; ``depth`` is 0 where it needs no other stage, else one more than the deepest it needs."""

    label: str
    steps: tuple[PlanStep, ...]
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """The stages in the order of their steps."""

    stages: tuple[PlanStage, ...]

    @classmethod
    def of(cls, steps: Iterable[PlanStep]) -> BuildPlan:
        """Group steps by their stages; those of one stage follow each other, and a stage follows those it needs."""
        groups: dict[str, list[PlanStep]] = {}
        for step in steps:
            groups.setdefault(step.stage, []).append(step)
        depths: dict[str, int] = {}
        for label, own in groups.items():
            depths[label] = max((depths.get(taken, -1) + 1 for step in own for taken in step.takes if taken != label), default=0)
        return cls(stages=tuple(PlanStage(label=label, steps=tuple(own), depth=depths[label]) for label, own in groups.items()))

    @property
    def steps(self) -> tuple[PlanStep, ...]:
        """All steps in order."""
        return tuple(step for stage in self.stages for step in stage.steps)

    @property
    def seconds(self) -> float:
        """When the last step that ran ended."""
        return max((step.began + step.seconds for step in self.steps if step.began is not None and step.ran), default=0.0)

    def sentence(self) -> str:
        """Return the figures: ``3 stages, 12 steps, 4 cached, 3.2 s; 2 stages ran at once for 1.4 s``."""
        steps = self.steps
        words = [figures.count(len(self.stages), "stage"), figures.count(len(steps), "step")]
        words += [f"{cached} cached"] if (cached := sum(step.status == "cached" for step in steps)) else []
        words += [figures.seconds(self.seconds)] if self.seconds else []
        most, together = _together(self.stages)
        return ", ".join(words) + (f"; {most} stages ran at once for {figures.seconds(together)}" if most > 1 else "")

    def as_text(self) -> str:
        """Return the plan as lines: each stage, what it needs, its steps."""
        lines = [self.sentence()]
        for stage in self.stages:
            lines.append(f"stage {one_line(stage.label, limit=60)}")
            for step in stage.steps:
                took = f"  {figures.seconds(step.seconds)}" if step.ran else ""
                takes = f"  <- {', '.join(step.takes)}" if step.takes else ""
                lines.append(f"  {SIGNS[step.status]} #{step.index:<3} {one_line(step.text, limit=90)}{takes}{took}")
        return "\n".join(lines)


def planned(steps: Iterable[PlannedStep]) -> BuildPlan:
    """Return the plan of what was not built."""
    return BuildPlan.of(_waiting(step) for step in steps)


def built(steps: Sequence[PlannedStep], results: Iterable[StepResult]) -> BuildPlan:
    """Return the plan of what was built: what each step came to (of an ONBUILD trigger too, at its FROM)."""
    found = {result.index: result for result in results}
    start = min((result.began for result in found.values()), default=0.0)
    fresh = {step.stage: step.index for step in reversed(steps) if step.index in found and found[step.index].status == "built"}
    plan = []
    for step in steps:
        result = found.get(step.index)
        # what changes no file counts as cached until something before it in its stage was not, unless getting its image took time
        new = result is not None and (
            result.status == "built" or (result.status == "metadata" and (step.index > fresh.get(step.stage, step.index) or _took(result)))
        )
        plan.append(_waiting(step) if result is None else _finished(step, result, start, "done" if new else "cached"))
    return BuildPlan.of(plan)


def _took(result: StepResult) -> bool:
    return result.seconds >= _FETCHED_S


def standing(state: BuildState) -> BuildPlan:
    """Return the plan of a build as it stands now."""
    return BuildPlan.of(
        PlanStep(
            index=step.index, line=step.line, stage=step.stage, text=step.text, takes=step.takes, status=step.status,
            began=step.began - state.began if step.status != "waiting" else None, seconds=state.step_seconds(step),
            reason=step.reason or step.message,
        )
        for step in state.steps.values()
    )  # fmt: skip


def _waiting(step: PlannedStep) -> PlanStep:
    return PlanStep(index=step.index, line=step.line, stage=step.stage, text=step.text, takes=step.takes)


def _finished(step: PlannedStep, result: StepResult, start: float, status: Status) -> PlanStep:
    return PlanStep(
        index=step.index, line=step.line, stage=step.stage, text=step.text, takes=step.takes, status=status,
        began=result.began - start, seconds=result.seconds, reason=result.reason,
    )  # fmt: skip


def _together(stages: Sequence[PlanStage]) -> tuple[int, float]:
    """Return the most stages that ran at once, and for how many seconds two or more did."""
    edges = sorted(
        edge
        for stage in stages
        for step in stage.steps
        if step.ran and step.seconds > 0 and step.began is not None
        for edge in ((step.began, 1), (step.began + step.seconds, -1))
    )
    now = most = 0
    together, before = 0.0, 0.0
    for when, change in edges:
        together += when - before if now > 1 else 0
        now, before = now + change, when
        most = max(most, now)
    return (most, together) if together >= 0.001 else (1, 0.0)

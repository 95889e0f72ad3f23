"""A build's plan as a picture: stages and what they take from each other, what was cached, what ran at once, how long it took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.build.progress import PlannedStep
from notebook_containers.commands import plans
from notebook_containers.commands.plans import BuildPlan
from notebook_containers.notebook.html import Markup, data_image, element
from notebook_containers.notebook.plan_layout import draw_plan

if TYPE_CHECKING:
    from notebook_containers.build.solver import StepResult


class PlanDiagram:
    """A picture of a plan, built or not; it never changes afterwards."""

    def __init__(self, plan: BuildPlan) -> None:
        self.plan = plan
        self._drawing = draw_plan(plan)

    def to_svg(self, *, themed: bool = True) -> str:
        """Return the picture as SVG text; ``themed`` follows a Jupyter page's theme, with colours that suit both where there is none."""
        return self._drawing.to_svg(title="The plan of a build", description=self.to_text(), themed=themed)

    def to_text(self) -> str:
        """Return the plan as text."""
        return self.plan.as_text()

    def to_html(self) -> Markup:
        """Return a figure with the picture and its figures in words; it needs no script, style or network."""
        picture = data_image(self.to_svg(themed=False), self.plan.sentence())
        return element("figure", None, picture, element("figcaption", None, self.plan.sentence()))

    def save(self, path: str | Path) -> Path:
        """Write the SVG, with colours that suit light and dark, to a file and return its path."""
        target = Path(path)
        target.write_text(self.to_svg(themed=False), encoding="utf-8")
        return target

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:  # noqa: ARG002
        """Show the picture in any front end; IPython calls this, and picks from the bundle itself."""
        return {"text/html": str(self.to_html()), "text/plain": self.to_text()}


def plan_diagram(steps: Sequence[PlannedStep], results: Iterable[StepResult] = ()) -> PlanDiagram:
    """Return the picture of planned steps and what became of them."""
    return PlanDiagram(plans.built(steps, results))

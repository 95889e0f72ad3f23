"""The steps of a finished build: a tuple of results that is a DataFrame for whoever wants one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notebook_containers.build.solver import StepResult

if TYPE_CHECKING:
    import pandas as pd


class Steps(tuple[StepResult, ...]):
    """What became of each step, in their order; a notebook shows it as a table."""

    __slots__ = ()

    def rows(self) -> list[dict[str, object]]:
        """Return plain rows with the columns of :meth:`frame`; ``layer`` is empty where the step made none."""
        return [
            {
                "step": step.index,
                "line": step.line,
                "instruction": step.instruction,
                "status": step.status,
                "reason": step.reason,
                "seconds": step.seconds,
                "bytes_added": step.bytes_added,
                "layer": str(step.layer or ""),
            }
            for step in self
        ]

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame by step number: line, instruction, status, reason, seconds, bytes_added, layer."""
        from notebook_containers import steps_frame  # the face that knows pandas; nothing here imports it before

        return steps_frame(self.rows())

    def _repr_html_(self) -> str | None:
        shown: str | None = self.frame()._repr_html_()  # type: ignore[operator]
        return shown

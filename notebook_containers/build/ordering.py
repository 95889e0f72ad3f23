"""What an order of instructions costs: a COPY that changes often, before a RUN that need not run again for it.

Each such RUN remembers, under its place, the last times that it ran again for nothing but files copied before it.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence

from notebook_containers.build import keys, plan
from notebook_containers.build.reasons import Cause
from notebook_containers.build.rows import Rows
from notebook_containers.lean import dataclass
from notebook_containers.store.records import Records

_MOST_REMEMBERED = 50
_FEWEST_BUILDS = 2
_LEAST_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """Advice at a line: ``saved`` seconds of the last ``builds`` builds would not have been spent."""

    line: int
    message: str
    saved: float
    builds: int


class Order:
    """Follows one stage: the COPY whose files changed, and what ran again because of it alone."""

    def __init__(self, records: Records, rows: Rows) -> None:
        self._records, self._rows = records, rows
        self._copy: plan.Step | None = None
        self._changed: tuple[str, ...] = ()
        self._paid: list[tuple[plan.Step, list[float]]] = []

    def rebuilt(self, step: plan.Step, place: str, causes: Sequence[Cause], seconds: float) -> None:
        """Take note of a step that was done again."""
        kinds = {cause.kind for cause in causes}
        operation = step.operation
        if isinstance(operation, plan.Copy) and operation.origin is None and kinds == {"file"}:
            self._copy, self._changed, self._paid = step, tuple(posixpath.basename(c.name) for c in causes), []
        elif kinds != {"parent"} or (isinstance(operation, plan.Execute) and self._needs(step)):
            self._copy = None
        elif self._copy is not None and isinstance(operation, plan.Execute):
            self._paid.append((step, self._remember(place, self._copy.text, seconds)))

    def hint(self) -> Hint | None:
        """Return the advice for what was noted, when it is worth one."""
        builds = max((len(paid) for _step, paid in self._paid), default=0)
        saved = sum(sum(paid) for _step, paid in self._paid)
        if self._copy is None or builds < _FEWEST_BUILDS or saved < _LEAST_S:
            return None
        dearest, _ = max(self._paid, key=lambda pair: sum(pair[1]))
        copied, ran = _brief(self._copy), _brief(dearest)
        message = (
            f"{copied} before {ran} (line {dearest.line}): moving it below would have saved {_seconds(saved)} in the last {builds} builds,"
            f" unless that RUN needs those files"
        )
        return Hint(line=self._copy.line, message=message, saved=saved, builds=builds)

    def _needs(self, step: plan.Step) -> bool:
        """Say whether a RUN names a file that changed: then it was right to run again."""
        return any(name and name in step.text for name in self._changed)

    def _remember(self, place: str, copy: str, seconds: float) -> list[float]:
        """Add to what the place remembers; return what that COPY cost it."""
        key = keys.past_key(place)
        row = self._records.cache_get(key)
        past = [*(json.loads(row.document) if row is not None else []), [copy, round(seconds, 3)]][-_MOST_REMEMBERED:]
        self._rows.note(key, json.dumps(past))
        return [float(paid) for text, paid in past if text == copy]


def _brief(step: plan.Step) -> str:
    """Return an instruction's keyword and first word that is no flag: ``RUN pip``."""
    keyword, *words = step.text.split()
    return " ".join([keyword, *[word for word in words if not word.startswith("--")][:1]])


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"

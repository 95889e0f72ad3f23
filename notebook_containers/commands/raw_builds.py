"""A build as BuildKit's ``--progress=rawjson`` tells it: a JSON object a line, with ``vertexes``, ``statuses``, ``logs`` or ``warnings``.

The shape is that of ``SolveStatus`` in BuildKit's client: a vertex (a step) is told again with each change of its state.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TextIO

from notebook_containers.build.progress import (
    Event,
    FetchProgress,
    PlannedStep,
    PlanReady,
    StepDone,
    StepFailed,
    StepOutput,
    StepStarted,
    Warned,
)
from notebook_containers.oci.documents import JSON

_STREAMS: Mapping[str, int] = {"stdout": 1, "stderr": 2}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class RawBuildView:
    """Writes each event as a line at once; what cannot be said in BuildKit's words (a step's reason, hints) is left out."""

    def __init__(self, out: TextIO, *, now: Callable[[], str] = _now) -> None:
        self._out, self._now = out, now
        self._vertexes: dict[int, dict[str, JSON]] = {}
        self._fetches: dict[str, dict[str, JSON]] = {}

    def __call__(self, event: Event) -> None:
        """Take an event of the build."""
        match event:
            case PlanReady():
                self._plan(event.steps)
            case StepStarted():
                self._vertex(event.index, started=self._now())
            case StepOutput():
                self._write("logs", self._log(event))
            case StepDone():
                self._vertex(event.index, completed=self._now(), **({"cached": True} if event.cached else {}))
            case StepFailed():
                self._vertex(event.index, completed=self._now(), error=event.message)
            case FetchProgress():
                self._fetch(event)
            case Warned():
                self._write("warnings", self._warning(event))
            case _:
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._out.flush()

    def _plan(self, steps: tuple[PlannedStep, ...]) -> None:
        last: dict[str, JSON] = {}
        for step in steps:
            name = f"[{step.stage} {step.index}/{len(steps)}] {step.text}"
            before = [last[stage] for stage in (step.stage, *step.takes) if stage in last]
            digest = "sha256:" + hashlib.sha256(f"{step.index}\0{step.stage}\0{step.text}".encode()).hexdigest()
            last[step.stage] = digest
            if step.index not in self._vertexes:
                self._vertexes[step.index] = {"digest": digest, **({"inputs": before} if before else {}), "name": name}
                self._write("vertexes", self._vertexes[step.index])

    def _vertex(self, index: int, **changed: JSON) -> None:
        vertex = self._vertexes.setdefault(index, {"name": f"[{index}]"})
        vertex.update(changed)
        self._write("vertexes", vertex)

    def _fetch(self, event: FetchProgress) -> None:
        """A fetch is a vertex of its own, with one status that moves."""
        digest = "sha256:" + hashlib.sha256(event.name.encode()).hexdigest()
        vertex = self._fetches.setdefault(event.name, {"digest": digest, "name": event.name, "started": self._now()})
        if event.ended:
            vertex["completed"] = self._now()
        self._write("vertexes", vertex)
        ended: dict[str, JSON] = {"completed": self._now()} if event.ended else {}
        status: dict[str, JSON] = {"id": "transferring", "vertex": digest, "total": event.total, "current": event.current}
        self._write("statuses", {**status, "timestamp": self._now(), "started": vertex["started"], **ended})

    def _log(self, event: StepOutput) -> dict[str, JSON]:
        data = base64.b64encode(event.data).decode()
        return {"vertex": self._digest(event.index), "stream": _STREAMS[event.stream], "data": data, "timestamp": self._now()}

    def _warning(self, event: Warned) -> dict[str, JSON]:
        short = f"{event.rule}: {event.message}" if event.rule else event.message
        place: dict[str, JSON] = {"line": event.line, "character": 0}
        found: dict[str, JSON] = {"level": 1, "short": base64.b64encode(f"{short} (line {event.line})".encode()).decode()}
        return {**found, "range": [{"start": place, "end": place}]} if event.line else found

    def _digest(self, index: int) -> JSON:
        return self._vertexes.get(index, {}).get("digest", "")

    def _write(self, kind: str, document: dict[str, JSON]) -> None:
        self._out.write(json.dumps({kind: [document]}, separators=(",", ":")) + "\n")
        self._out.flush()

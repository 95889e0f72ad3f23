"""Which projects there are on an engine: told by the labels of their containers alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from notebook_containers.compose import labels
from notebook_containers.compose.labels import Member
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.engine.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One project: ``status`` counts its containers by state (``running(2), exited(1)``), ``files`` are the compose files, absolute."""

    name: str
    status: str
    running: bool
    files: str


def projects(engine: Engine) -> list[Listed]:
    """Return every project that has a container, by name."""
    by_name: dict[str, list[Member]] = {}
    for container in engine.containers.every():
        one = labels.member(container)
        if one is not None:
            by_name.setdefault(one.project, []).append(one)
    return [_listed(name, by_name[name]) for name in sorted(by_name)]


def _listed(name: str, members: list[Member]) -> Listed:
    states = Counter(one.container.status for one in members)
    files = next((text for one in members if (text := labels.own_labels(one.container).get(labels.CONFIG_FILES, ""))), "")
    return Listed(
        name=name,
        status=", ".join(f"{state}({count})" for state, count in states.most_common()),
        running=bool(states["running"] or states["paused"] or states["restarting"]),
        files=files,
    )

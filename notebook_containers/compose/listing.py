"""Which projects there are on an engine: told by the labels of their containers alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from notebook_containers.compose import labels
from notebook_containers.compose.labels import Member
from notebook_containers.compose.model import CONDITIONS, STARTED, Dependency, Project, Service, in_order
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


def from_labels(engine: Engine, name: str) -> Project | None:
    """Return a project as the labels of its containers tell it: services, images and what they depend on; None when it has none."""
    found = [one for container in engine.containers.every() if (one := labels.member(container)) is not None and one.project == name]
    services = {one.service: _service(one) for one in found if not one.one_off}
    if not services:
        return None
    directory = labels.own_labels(found[0].container).get(labels.WORKING_DIR, "/")
    return Project(name=name, services=in_order([services[key] for key in sorted(services)]), directory=directory)


def _service(one: Member) -> Service:
    words = labels.own_labels(one.container).get(labels.DEPENDS_ON, "").split(",")
    needs = {}
    for word in filter(None, words):
        on, _, rest = word.partition(":")
        condition, _, restart = rest.partition(":")
        needs[on] = Dependency(condition=condition if condition in CONDITIONS else STARTED, restart=restart == "true")
    return Service(name=one.service, image=one.container.image, depends_on=needs)


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

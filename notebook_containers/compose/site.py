"""One project on one engine: what the engine has of it, and the names of what it makes."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.compose import labels
from notebook_containers.compose.labels import Member
from notebook_containers.compose.model import Project, Service
from notebook_containers.compose.progress import Tell, Told, silent
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.engine.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A project, the engine it is on, and who hears what is done."""

    engine: Engine
    project: Project
    tell: Tell = silent

    @property
    def name(self) -> str:
        """The project's name."""
        return self.project.name

    def members(self) -> list[Member]:
        """Return the project's containers, running or not, by service and number; what ``run`` made is among them."""
        found = (labels.member(container) for container in self.engine.containers.every())
        own = (one for one in found if one is not None and one.project == self.name)
        return sorted(own, key=lambda one: (one.service, one.number, one.container.created))

    def of(self, service: str) -> list[Member]:
        """Return a service's containers by number, without those that ``run`` made."""
        return [one for one in self.members() if one.service == service and not one.one_off]

    @property
    def run_place(self) -> Path:
        """Where locks and times of this project are kept while the machine runs."""
        place = self.engine.run_dir / "compose" / self.name
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place

    @property
    def place(self) -> Path:
        """Where files are kept that containers of this project need again after a restart of the machine."""
        return self.engine.root / "compose" / self.name

    @contextmanager
    def turn(self, service: str) -> Iterator[None]:
        """Keep every other ``up`` and ``down`` of this project from the service's containers, in this process and in others."""
        with open(self.run_place / f"{service}.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def container_name(self, service: Service, number: int) -> str:
        """Return the name of a service's container."""
        return service.container_name or f"{self.name}-{service.name}-{number}"

    def image_name(self, service: Service) -> str:
        """Return the name of a service's image: what the file says, or the project's own for one that is only built."""
        return service.image or f"{self.name}-{service.name}"

    def needs(self, services: Sequence[Service]) -> Mapping[str, set[str]]:
        """Return what each service waits for, as far as it is among these."""
        names = {service.name for service in services}
        return {service.name: names.intersection(service.depends_on) for service in services}

    def told(self, member_name: str, phase: str, service: str, *, text: str = "") -> None:
        """Tell of a container."""
        self.tell(Told(kind="container", name=member_name, phase=phase, service=service, text=text))


def orphans(members: Sequence[Member], project: Project) -> list[Member]:
    """Return the containers of services that the file has no more, and of those that it has them by profile only, nothing."""
    known = {service.name for service in (*project.services, *project.disabled)}
    return [one for one in members if one.service not in known]

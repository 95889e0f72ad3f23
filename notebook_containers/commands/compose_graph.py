"""A project as a graph: services and what they need, their networks, volumes and ports, how they are, and when the last ``up`` did what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from notebook_containers.commands import figures
from notebook_containers.lean import dataclass, replace

if TYPE_CHECKING:
    from notebook_containers.compose.labels import Member
    from notebook_containers.compose.model import Project, Service
    from notebook_containers.compose.progress import Span
    from notebook_containers.compose.project import ComposeProject

Well: TypeAlias = Literal["well", "done", "starting", "ill", "absent"]
"""How a service is: it runs (and is healthy), has ended well, is on its way, is in trouble, or has no container."""

SIGNS: dict[Well, str] = {"well": "●", "done": "✓", "starting": "◐", "ill": "✗", "absent": "○"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a service waits for: another service, and how that must be."""

    on: str
    condition: str
    required: bool = True

    def words(self) -> str:
        """Return it as words."""
        return f"{self.on} ({self.condition})" + ("" if self.required else ", if it is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceBox:
    """One service; ``depth`` counts the steps of needs below it, networks and volumes are keys of the file."""

    name: str
    image: str
    how: Well
    state: str
    depth: int
    needs: Sequence[Need] = ()
    networks: Sequence[str] = ()
    volumes: Sequence[str] = ()
    ports: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A network or a volume, with its name on the engine."""

    key: str
    name: str
    external: bool
    services: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectGraph:
    """The whole; ``spans`` are empty when no ``up`` did anything yet."""

    name: str
    services: Sequence[ServiceBox]
    networks: Sequence[Shared] = ()
    volumes: Sequence[Shared] = ()
    spans: Sequence[Span] = ()

    def sentence(self) -> str:
        """Return it in one line."""
        words = [figures.count(len(self.services), "service")]
        words += [figures.count(len(self.networks), "network")] if self.networks else []
        words += [figures.count(len(self.volumes), "volume")] if self.volumes else []
        hows = [box.how for box in self.services]
        well = sum(how in ("well", "done") for how in hows)
        up = "not up" if set(hows) <= {"absent"} else "all well" if well == len(hows) else f"{well} of {len(hows)} well"
        took = max((span.ended for span in self.spans), default=0.0)
        return f"project {self.name}: {', '.join(words)}; {up}" + (f"; the last up took {figures.seconds(took)}" if self.spans else "")

    def as_text(self) -> str:
        """Return it as text: a line for each service and what it has, then the times."""
        return "\n".join([self.sentence(), *self._lines(), *self._times()])

    def _lines(self) -> Iterator[str]:
        for box in self.services:
            yield f"  {SIGNS[box.how]} {box.name}  {box.state}  {box.image}"
            needs = [need.words() for need in box.needs]
            for label, words in (("needs", needs), ("ports", box.ports), ("networks", box.networks), ("volumes", box.volumes)):
                if words:
                    yield f"      {label}: {', '.join(words)}"

    def _times(self) -> Iterator[str]:
        for span in self.spans:
            what = f"waiting for {span.on} ({_condition(span.condition)})" if span.doing == "waiting" else span.doing
            yield f"  {span.began:7.2f} s to {span.ended:7.2f} s  {span.service or span.name}: {what}"


def graph_of(project: ComposeProject, services: Sequence[str] = ()) -> ProjectGraph:
    """Return the graph of a project (or of some services and what they need) as it is now."""
    from notebook_containers.compose import order

    whole = project.project
    wanted = order.with_needs(services, {s.name: list(s.depends_on) for s in whole.services})
    for name in services:
        whole.service(name)
    model = replace(whole, services=tuple(s for s in whole.services if not services or s.name in wanted))
    members = project.members()
    needs = {service.name: list(service.depends_on) for service in model.services}
    depths = order.levels(needs)
    boxes = [_box(model, service, [m for m in members if m.service == service.name], depths[service.name]) for service in model.services]
    networks = [
        Shared(key=key, name=network.name, external=network.external, services=[b.name for b in boxes if key in b.networks])
        for key, network in model.networks.items()
        if not services or any(key in box.networks for box in boxes)
    ]
    volumes = [
        Shared(key=key, name=volume.name, external=volume.external, services=[b.name for b in boxes if key in b.volumes])
        for key, volume in model.volumes.items()
        if not services or any(key in box.volumes for box in boxes)
    ]
    return ProjectGraph(name=project.name, services=boxes, networks=networks, volumes=volumes, spans=project.timeline())


def _box(model: Project, service: Service, members: Sequence[Member], depth: int) -> ServiceBox:
    how, state = _how(members)
    published = [f"{p.host}:{p.host_port} → {p.container_port}/{p.protocol}" for m in members for p in m.container.ports]
    known = {s.name for s in model.services}
    return ServiceBox(
        name=service.name,
        image=service.image or f"{model.name}-{service.name}",
        how=how,
        state=state,
        depth=depth,
        needs=[
            Need(on=on, condition=_condition(how.condition), required=how.required) for on, how in service.depends_on.items() if on in known
        ],
        networks=list(service.networks) if not service.network_mode else (),
        volumes=list(dict.fromkeys(mount.source for mount in service.volumes if mount.source in model.volumes)),
        ports=published or [f"{port.published or 'any'} → {port.target}/{port.protocol}" for port in service.ports],
    )


def _condition(word: str) -> str:
    return {"completed_successfully": "completed"}.get(word.removeprefix("service_"), word.removeprefix("service_"))


def _how(members: Sequence[Member]) -> tuple[Well, str]:
    """Return how a service is as a whole: as the worst of its containers."""
    if not members:
        return "absent", "no container"
    found = [_one(member) for member in members]
    worst = max(found, key=lambda one: _RANK.index(one[0]))
    return worst[0], worst[1] + (f" ({len(found)})" if len(found) > 1 else "")


_RANK: tuple[Well, ...] = ("done", "well", "absent", "starting", "ill")


def _one(member: Member) -> tuple[Well, str]:
    container = member.container
    status, health = container.status, container.health
    if status == "exited":
        return ("ill" if container.exit_code else "done"), f"exited ({container.exit_code})"
    if status in ("created", "restarting", "paused"):
        return "starting", status
    if health == "none":
        return "well", "running"
    return {"healthy": "well", "unhealthy": "ill"}.get(health, "starting"), health  # type: ignore[return-value]

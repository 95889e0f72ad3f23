"""``up``: a project's containers become what the file says, dependencies first, at once where nothing stands between.

Every step leaves a state from which another ``up`` or a ``down`` goes on (REL-32): names and numbers are reserved by the store, a
container that replaces another is made before that one is removed, and which of two is the older their hashes tell.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from notebook_containers.compose import creating, digests, grants, hooks, images, labels, order, resources, waiting
from notebook_containers.compose.images import Making
from notebook_containers.compose.labels import Member
from notebook_containers.compose.model import SERVICE_PREFIX, Service
from notebook_containers.compose.order import Cancelled
from notebook_containers.compose.progress import Told
from notebook_containers.compose.reconcile import Policy, Seen, Step, steps
from notebook_containers.compose.site import Site, orphans
from notebook_containers.engine.namespace_words import joined
from notebook_containers.errors import Conflict, ContainerNotFound, Error, InvalidArgument
from notebook_containers.lean import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an ``up`` (or ``create``, with not ``start``) is to do; empty ``services`` are all. Times are seconds."""

    services: Sequence[str] = ()
    with_needs: bool = True
    policy: Policy = "changed"
    needs_policy: Policy = "changed"
    """The policy for services that are only needed by the named ones."""
    scale: Mapping[str, int] = field(default_factory=dict)
    remove_orphans: bool = False
    renew_anonymous_volumes: bool = False
    stop_timeout: int | None = None
    start: bool = True
    wait: bool = False
    wait_timeout: float | None = None
    at_once: int = order.MOST_AT_ONCE
    making: Making = field(default_factory=Making)


def up(site: Site, wanted: Wanted) -> list[Member]:
    """Do it, and return the containers of the services that were asked for, with those they need; running unless only to be created."""
    return _Up(site, wanted).run()


class _Up:
    """One ``up``."""

    def __init__(self, site: Site, wanted: Wanted) -> None:
        self._site, self._wanted = site, wanted
        self._named = {site.project.service(name).name for name in wanted.services}
        needs = site.needs(site.project.services)
        chosen = order.with_needs(self._named, needs) if wanted.with_needs else self._named
        self._services = [service for service in site.project.services if not self._named or service.name in chosen]
        self._by_name = {service.name: service for service in self._services}
        self._hashes: dict[str, str] = {}
        self._images: dict[str, str] = {}
        self._changed: set[str] = set()

    def run(self) -> list[Member]:
        for name in self._wanted.scale:
            self._site.project.service(name)
        self._images = images.ensure(self._site, self._services, self._wanted.making)
        resources.ensure(self._site, self._services)
        self._hashes = {service.name: digests.service_hash(self._site.project, service) for service in self._services}
        members = self._site.members()
        self._orphans(members)
        if self._work_left(members):
            needs = self._site.needs(self._services)
            order.run(needs, self._service, at_once=self._wanted.at_once)
            members = self._site.members()
            self._after(members)
        mine = [one for one in members if one.service in self._by_name and not one.one_off]
        if self._wanted.wait:
            deadline = time.monotonic() + self._wanted.wait_timeout if self._wanted.wait_timeout else None
            waiting.until(self._site, mine, waiting.well, threading.Event(), deadline=deadline)
        return mine

    def _after(self, members: Sequence[Member]) -> None:
        grants.tidy(self._site, [point.source for one in members for point in one.container.document.mounts])

    def _orphans(self, members: Sequence[Member]) -> None:
        found = orphans(members, self._site.project)
        if not found:
            return
        if not self._wanted.remove_orphans:
            names = ", ".join(one.name for one in found)
            text = f"containers of services that the file has no more: {names}; --remove-orphans removes them"
            self._site.tell(Told(kind="service", name=self._site.name, phase="warning", text=text))
            return
        for one in found:
            remove(self._site, one, timeout=self._wanted.stop_timeout)

    # one service -----------------------------------------------------------------------------------------------------------------

    def _work_left(self, members: Sequence[Member]) -> bool:
        """Tell whether anything is to do; where nothing is, it is told that all runs."""
        by_service = {
            service.name: [one for one in members if one.service == service.name and not one.one_off] for service in self._services
        }
        whats = {step.what for service in self._services for step in self._steps(service, by_service[service.name])}
        if whats - ({"keep"} if self._wanted.start else {"keep", "start"}):
            return True
        for one in (one for group in by_service.values() for one in group):
            self._site.told(one.name, "running" if self._wanted.start else "created", one.service)
        return False

    def _steps(self, service: Service, mine: Sequence[Member]) -> tuple[Step, ...]:
        count = self._wanted.scale.get(service.name, service.replicas)
        if count > 1 and service.container_name:
            raise InvalidArgument(
                f"service {service.name} has the container name {service.container_name!r}, which only one container can have",
                hint="take container_name out to scale it",
            )
        policy = self._wanted.policy if not self._named or service.name in self._named else self._wanted.needs_policy
        if policy == "changed" and self._changed.intersection(_joined(service)):
            policy = "always"  # it shares something of containers that are gone
        seen = [
            Seen(id=one.container.id, number=one.number, config_hash=self._known_hash(one), status=one.container.status) for one in mine
        ]
        return steps(seen, config_hash=self._hash(service), count=count, policy=policy)

    def _known_hash(self, member: Member) -> str:
        """Return a container's hash; none for one that is tied to a container that is gone, because it cannot start again."""
        document = member.container.document
        others = [*joined(document.options).values(), *(word.partition(":")[0] for word in document.options.volumes_from)]
        for other in others:
            try:
                self._site.engine.containers.get(other)
            except ContainerNotFound:
                return ""
        return f"{member.config_hash} {document.image_id}"

    def _hash(self, service: Service) -> str:
        return f"{self._hashes[service.name]} {self._images[service.name]}"

    def _service(self, name: str, cancelled: threading.Event) -> None:
        """Bring one service to what it is to be; what it needs is started already."""
        service = self._by_name[name]
        site = self._site
        mine = site.of(name)
        todo = self._steps(service, mine)
        if self._wanted.start and any(step.what not in ("keep", "remove") for step in todo):
            self._wait(service, cancelled)
        with site.turn(name):
            mine = site.of(name)  # another up may have been here while this one waited
            by_id = {one.container.id: one for one in mine}
            todo = self._steps(service, mine)
            for gone in (True, False):  # what is to go may hold a port that is wanted
                acts = [partial(self._step, service, step, by_id) for step in todo if (step.what == "remove") is gone]
                _at_once(acts, self._wanted.at_once)
        if self._wanted.start and name not in self._changed and self._restarts(service):
            for one in site.of(name):
                site.told(one.name, "restarting", name)
                one.container.restart(timeout=self._wanted.stop_timeout)
                site.told(one.name, "started", name)

    def _wait(self, service: Service, cancelled: threading.Event) -> None:
        """Wait for the conditions of everything the service depends on, at once."""
        waits = {on: partial(waiting.for_dependency, self._site, service.name, on, how) for on, how in service.depends_on.items()}
        known = {on for on in waits if on in self._by_name or self._site.of(on)}
        for on in waits.keys() - known:
            if service.depends_on[on].required and self._wanted.with_needs:
                raise InvalidArgument(
                    f"service {service.name} depends on {on}, which is not active", hint="give its profile with --profile"
                )
        if cancelled.is_set():
            raise Cancelled
        order.run({on: set[str]() for on in known}, lambda on, stop: waits[on](_Either(stop, cancelled)))

    def _restarts(self, service: Service) -> bool:
        return any(how.restart and on in self._changed for on, how in service.depends_on.items())

    def _step(self, service: Service, step: Step, by_id: Mapping[str, Member]) -> None:
        site, old = self._site, by_id.get(step.id)
        if step.what == "remove" and old is not None:
            remove(site, old, timeout=self._wanted.stop_timeout, services=[service])
        elif step.what in ("keep", "unpause", "start") and old is not None:
            self._stay(service, step, old)
        else:
            if old is not None:
                self._changed.add(service.name)
            self._start(service, self._make(service, step.number, old))

    def _stay(self, service: Service, step: Step, old: Member) -> None:
        name = self._site.container_name(service, step.number)
        if old.name != name:  # an up was killed that was about to replace it
            with suppress(Conflict):
                old.container.rename(name)
        if step.what == "start":
            self._start(service, old)
            return
        if step.what == "unpause":
            old.container.unpause()
        self._site.told(old.name, "running", service.name)

    def _make(self, service: Service, number: int, old: Member | None) -> Member:
        """Make a container, in the place of ``old`` where there is one: that is stopped, gives its name away and is removed."""
        site = self._site
        name = site.container_name(service, number)
        site.told(name, "creating" if old is None else "recreating", service.name)
        keeps = old.container if old is not None and not self._wanted.renew_anonymous_volumes else None
        given = creating.keywords(site, service, number, self._hashes[service.name], self._images[service.name])
        if old is not None:
            hooks.before_stop(site, [service], old)
            old.container.stop(timeout=self._wanted.stop_timeout)
            with suppress(Conflict):  # it was renamed by an up that was killed
                old.container.rename(f"{old.container.id[:12]}_{name}")
        container = site.engine.containers.create(site.image_name(service), service.command, replaces=keeps, **given)
        for text in container.warnings:
            site.told(name, "warning", service.name, text=text)
        if old is not None:
            with suppress(ContainerNotFound):
                old.container.remove(force=True, v=self._wanted.renew_anonymous_volumes)
        site.told(name, "created" if old is None else "recreated", service.name)
        made = labels.member(container)
        if made is None:
            raise InvalidArgument(
                f"service {service.name} overrides the labels of its project", hint=f"take {labels.PREFIX}.* out of its labels"
            )
        return made

    def _start(self, service: Service, member: Member) -> None:
        if self._wanted.start:
            start(self._site, service, member)


def start(site: Site, service: Service | None, member: Member) -> None:
    """Start a container, with the service's ``post_start`` commands after it."""
    site.told(member.name, "starting", member.service)
    try:
        member.container.start()
        if service is not None:
            hooks.after_start(service, member)
    except Error as err:
        site.told(member.name, "error", member.service, text=err.message)
        raise
    site.told(member.name, "started", member.service)
    member.container.reload()
    if member.container.health == "starting":
        site.told(member.name, "checking", member.service)


def remove(site: Site, member: Member, *, timeout: int | None = None, volumes: bool = False, services: Sequence[Service] = ()) -> None:
    """Stop a container and remove it, with its anonymous volumes if so wanted; one that is gone already is no failure."""
    with suppress(ContainerNotFound):
        hooks.before_stop(site, services, member)
        if member.container.status in ("running", "paused", "restarting"):
            site.told(member.name, "stopping", member.service)
            member.container.stop(timeout=timeout, going=True)
        site.told(member.name, "removing", member.service)
        member.container.remove(force=True, v=volumes)
    site.told(member.name, "removed", member.service)


def _joined(service: Service) -> set[str]:
    """Return the services whose containers this one's are tied to: their namespaces and mounts."""
    words = (service.network_mode, service.pid, service.ipc, service.uts)
    tied = {word.removeprefix(SERVICE_PREFIX) for word in words if word.startswith(SERVICE_PREFIX)}
    return tied | {word.partition(":")[0] for word in service.volumes_from if not word.startswith("container:")}


def _at_once(acts: Sequence[Callable[[], None]], at_once: int) -> None:
    if len(acts) == 1:
        return acts[0]()
    return order.run({str(number): set[str]() for number in range(len(acts))}, lambda name, _stop: acts[int(name)](), at_once=at_once)


class _Either(threading.Event):
    """Set when either of two is; only waited for."""

    def __init__(self, first: threading.Event, second: threading.Event) -> None:
        super().__init__()
        self._both = (first, second)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the first, and look at the second."""
        return self._both[1].is_set() or self._both[0].wait(timeout)

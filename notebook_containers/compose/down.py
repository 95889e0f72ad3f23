"""``down`` and the other verbs that end things: dependents first, what the project owns and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from notebook_containers.compose import grants, hooks, order, resources, up
from notebook_containers.compose.labels import Member
from notebook_containers.compose.progress import Told
from notebook_containers.compose.site import Site, orphans
from notebook_containers.errors import Conflict, Error, ImageNotFound
from notebook_containers.lean import dataclass
from notebook_containers.runtime.bundle import signal_number

_KILLED_S = 10
LIVE = ("running", "paused", "restarting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwanted:
    """What a ``down`` takes away besides containers and networks; ``images`` is "", local or all. With names only those services go."""

    services: Sequence[str] = ()
    volumes: bool = False
    remove_orphans: bool = False
    images: str = ""
    stop_timeout: int | None = None


def down(site: Site, unwanted: Unwanted) -> None:
    """Stop and remove the project's containers, then what only they needed. Converges however often it is called or killed."""
    members = site.members()
    strangers = {one.container.id for one in orphans(members, site.project)}
    named = set(unwanted.services)
    goes = [
        one for one in members
        if (one.service in named if named else unwanted.remove_orphans or one.container.id not in strangers)
    ]  # fmt: skip
    each(site, goes, lambda one: _remove(site, one, unwanted))
    if named:
        return
    if strangers and not unwanted.remove_orphans:
        names = ", ".join(one.name for one in members if one.container.id in strangers)
        site.tell(
            Told(
                kind="service", name=site.name, phase="warning",
                text=f"containers of services that the file has no more stay: {names}; --remove-orphans removes them",
            )
        )  # fmt: skip
    resources.remove_networks(site)
    if unwanted.volumes:
        resources.remove_volumes(site)
    if unwanted.images:
        _remove_images(site, local=unwanted.images == "local")
    if not strangers or unwanted.remove_orphans:
        grants.forget(site)


def _remove(site: Site, member: Member, unwanted: Unwanted) -> None:
    with site.turn(member.service):
        up.remove(site, member, timeout=unwanted.stop_timeout, volumes=unwanted.volumes, services=site.project.services)


def _remove_images(site: Site, *, local: bool) -> None:
    """Remove the services' images; ``local`` are those only that the file gives no name."""
    for name in dict.fromkeys(site.image_name(service) for service in site.project.services if not (local and service.image)):
        with suppress(ImageNotFound):
            try:
                site.engine.images.remove(name)
            except Conflict as err:
                site.tell(Told(kind="image", name=name, phase="warning", text=f"it stays: {err.message}"))
            else:
                site.tell(Told(kind="image", name=name, phase="removed"))


def stop(site: Site, members: Sequence[Member], *, timeout: int | None = None) -> None:
    """Stop containers, dependents first."""

    def act(member: Member) -> None:
        if member.container.status not in LIVE:
            return
        hooks.before_stop(site, site.project.services, member)
        site.told(member.name, "stopping", member.service)
        member.container.stop(timeout=timeout)
        site.told(member.name, "stopped", member.service)

    each(site, members, act)


def kill(site: Site, members: Sequence[Member], *, signal: str = "SIGKILL") -> None:
    """Send a signal to containers that run, to all at once."""

    def act(member: Member) -> None:
        with suppress(Conflict):  # it ended meanwhile
            member.container.kill(signal)
            if signal_number(signal) == signal_number("SIGKILL"):  # it is over when it is told: an up that follows starts it again
                with suppress(TimeoutError):
                    member.container.wait(timeout=_KILLED_S)
            site.told(member.name, "killed", member.service)

    each(site, [one for one in members if one.container.status in LIVE], act, ordered=False)


def each(site: Site, members: Sequence[Member], act: Callable[[Member], None], *, backwards: bool = True, ordered: bool = True) -> None:
    """Do something with containers: dependents first (or, not ``backwards``, dependencies), those of one service and of others at once.

    The order is that of the file and, for services it has no more, of none. What fails does not stop the others.
    """
    by_service: dict[str, list[Member]] = {}
    for member in members:
        by_service.setdefault(member.service, []).append(member)
    needs: Mapping[str, set[str]] = {name: _needs(site, name) if ordered else set() for name in by_service}
    failures: list[Error] = []

    def work(name: str, _cancelled: object) -> None:
        group = by_service[name]
        try:
            if len(group) == 1:
                act(group[0])
                return
            order.run({one.container.id: set[str]() for one in group}, lambda key, _stop: act(_of(group, key)), keep_going=True)
        except Error as err:
            failures.append(err)

    whole = _through(site, needs)
    order.run(order.backwards(whole) if backwards else whole, work)
    if failures:
        for other in failures[1:]:
            failures[0].add_note(f"and: {other}")
        raise failures[0]


def _of(group: Sequence[Member], container_id: str) -> Member:
    return next(one for one in group if one.container.id == container_id)


def _needs(site: Site, name: str) -> set[str]:
    return next((set(service.depends_on) for service in (*site.project.services, *site.project.disabled) if service.name == name), set())


def _through(site: Site, needs: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the needs among these services, also those that go through services that are not among them."""
    everything = {service.name: set(service.depends_on) for service in (*site.project.services, *site.project.disabled)}
    found = {}
    for name, direct in needs.items():
        found[name] = (order.with_needs(direct, everything) & set(needs)) - {name} if direct else set[str]()
    return found

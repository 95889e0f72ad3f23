"""What is done with containers that exist: started, stopped, killed, frozen, each in the order that their services need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from notebook_containers.compose import hooks, order, up
from notebook_containers.compose.labels import Member
from notebook_containers.compose.model import Project
from notebook_containers.compose.site import Site
from notebook_containers.errors import Conflict, Error
from notebook_containers.runtime.bundle import signal_number

_KILLED_S = 10
LIVE = ("running", "paused", "restarting")


def start(site: Site, members: Sequence[Member]) -> None:
    """Start the containers that do not run, dependencies first."""
    by_name = {service.name: service for service in (*site.project.services, *site.project.disabled)}

    def act(one: Member) -> None:
        if one.container.status not in LIVE:
            up.start(site, by_name.get(one.service), one)

    each(site, members, act, backwards=False)


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


def freeze(site: Site, members: Sequence[Member], *, thaw: bool = False) -> list[Member]:
    """Freeze the containers that run, or let those go on that are frozen; returns which these were."""
    found = [one for one in members if one.container.status == ("paused" if thaw else "running")]

    def act(one: Member) -> None:
        if thaw:
            one.container.unpause()
        else:
            one.container.pause()
        site.told(one.name, "unpaused" if thaw else "paused", one.service)

    each(site, found, act, ordered=False)
    return found


def restarted_with(project: Project, services: Sequence[str]) -> set[str]:
    """Return the other services that are to be restarted when these are (``depends_on: restart``)."""
    found: set[str] = set()
    for service in project.services:  # in the order of needs, so that who follows a follower is found
        if any(how.restart and (on in services or on in found) for on, how in service.depends_on.items()):
            found.add(service.name)
    return found - set(services)


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

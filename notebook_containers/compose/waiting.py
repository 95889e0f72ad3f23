"""Waiting for what a service depends on, and for a project to be well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from notebook_containers.compose.labels import Member
from notebook_containers.compose.model import COMPLETED, HEALTHY, Dependency
from notebook_containers.compose.order import Cancelled
from notebook_containers.compose.progress import Told
from notebook_containers.compose.site import Site
from notebook_containers.errors import ContainerNotFound, Error, RuntimeFailure

_LOOK_S = 0.03


def for_dependency(site: Site, service: str, on: str, wanted: Dependency, cancelled: threading.Event) -> None:
    """Wait until the containers of ``on`` are what ``service`` needs; raises RuntimeFailure when they cannot become it any more.

    What is not required is told when it fails, and passed over.
    """
    if wanted.condition not in (HEALTHY, COMPLETED):
        return
    members = site.of(on)
    event = Told(kind="service", name=service, phase="waiting", service=service, on=on, condition=wanted.condition)
    site.tell(event)
    try:
        if not members:
            raise RuntimeFailure(f"service {service} waits for {on}, of which there is no container", hint=f"start it: nbc compose up {on}")
        until(site, members, healthy if wanted.condition == HEALTHY else completed, cancelled)
    except RuntimeFailure as err:
        if wanted.required:
            raise RuntimeFailure(f"dependency of {service} failed: {err.message}", hint=err.hint) from err
        site.tell(Told(kind="service", name=service, phase="warning", service=service, text=f"goes on without {on}: {err.message}"))
    finally:
        site.tell(Told(kind="service", name=service, phase="waited", service=service, on=on, condition=wanted.condition))


def until(
    site: Site,
    members: Iterable[Member],
    is_so: Callable[[Member], bool],
    cancelled: threading.Event,
    *,
    deadline: float | None = None,
) -> None:
    """Wait until ``is_so`` of every container; it raises when that cannot be any more. RuntimeFailure at the deadline (monotonic)."""
    for member in members:
        while True:
            try:
                member.container.reload()
            except ContainerNotFound as err:
                raise RuntimeFailure(f"container {member.name} was removed while it was waited for") from err
            if is_so(member):
                if member.container.health == "healthy":
                    site.told(member.name, "healthy", member.service)
                break
            if deadline is not None and time.monotonic() > deadline:
                raise RuntimeFailure(f"container {member.name} is not ready: it is {state_words(member)}", hint=_look(member))
            if cancelled.wait(_LOOK_S):
                raise Cancelled


def healthy(member: Member) -> bool:
    """Tell whether a container is healthy; raises RuntimeFailure when it ended, is unhealthy, or has no health check."""
    container = member.container
    health = container.health
    if container.status == "exited":
        raise RuntimeFailure(f"container {member.name} exited ({container.exit_code})", hint=_look(member))
    if health == "unhealthy":
        raise RuntimeFailure(f"container {member.name} is unhealthy{_last_check(member)}", hint=_look(member))
    if health == "none" and container.status != "created":
        raise RuntimeFailure(
            f"container {member.name} has no health check, so it never becomes healthy",
            hint=f"give the service {member.service} a healthcheck, or wait for service_started",
        )
    return health == "healthy"


def completed(member: Member) -> bool:
    """Tell whether a container ended well; raises RuntimeFailure when it ended otherwise."""
    container = member.container
    if container.status != "exited":
        return False
    if container.exit_code:
        raise RuntimeFailure(f"container {member.name} exited ({container.exit_code})", hint=_look(member))
    return True


def well(member: Member) -> bool:
    """Tell whether a container runs and is healthy as far as it has a check: what ``up --wait`` waits for."""
    if member.container.status == "exited":
        raise RuntimeFailure(f"container {member.name} exited ({member.container.exit_code})", hint=_look(member))
    return member.container.status == "running" and (member.container.health == "none" or healthy(member))


def for_end(members: Sequence[Member]) -> dict[str, int]:
    """Wait until every container has ended; returns the exit statuses by name."""
    found = {}
    for member in members:
        code = member.container.wait()["StatusCode"]
        found[member.name] = code if isinstance(code, int) else 0
    return found


def state_words(member: Member) -> str:
    """Return how a container is, in a word or two."""
    container = member.container
    return f"{container.status} ({container.health})" if container.health != "none" else container.status


def _last_check(member: Member) -> str:
    state = member.container.state.health
    output = state.log[-1].output.strip() if state is not None and state.log else ""
    return f": {output.splitlines()[-1][:200]}" if output else ""


def _look(member: Member) -> str:
    try:
        hint = member.container.verdict.hint
    except Error:
        hint = ""
    return hint or f"see nbc compose logs {member.service}"

"""A project on an engine: up, down, start, stop, restart, build, ps, logs. Containers carry Compose's own labels, so others know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from threading import Event, Thread
from typing import TYPE_CHECKING

from notebook_containers.compose import (
    down,
    images,
    labels,
    life,
    model,
    oneoff,
    order,
    privileges,
    timeline,
    transfers,
    up,
    waiting,
)
from notebook_containers.compose.down import Unwanted
from notebook_containers.compose.images import Making, View
from notebook_containers.compose.labels import Member
from notebook_containers.compose.logs import Following, Said, past
from notebook_containers.compose.oneoff import Once
from notebook_containers.compose.order import MOST_AT_ONCE
from notebook_containers.compose.progress import Span, Tell, silent
from notebook_containers.compose.site import Site, orphans
from notebook_containers.compose.timeline import Recorder
from notebook_containers.compose.transfers import Pulling
from notebook_containers.compose.up import Wanted
from notebook_containers.engine.container import Container
from notebook_containers.errors import ContainerNotFound, InvalidArgument
from notebook_containers.lean import replace

if TYPE_CHECKING:
    from notebook_containers.engine.engine import Engine
    from notebook_containers.engine.events import EventStream
    from notebook_containers.engine.moments import Moment


class ComposeProject:
    """One compose file on one engine; every verb may be called again and converges.

    ``told`` of the verbs hears what begins and has ended (:class:`.progress.Told`), from any thread.
    """

    def __init__(self, engine: Engine, project: model.Project) -> None:
        self._engine, self.project = engine, project

    @property
    def name(self) -> str:
        """The project's name."""
        return self.project.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the file is not honoured, and why, a line each."""
        return self.project.notes

    def _site(self, told: Tell = silent) -> Site:
        return Site(engine=self._engine, project=self.project, tell=told)

    def members(self, services: Sequence[str] = (), *, one_off: bool = False) -> list[Member]:
        """Return the project's containers by service and number, running or not; with ``one_off`` those too that ``run`` made.

        Raises InvalidArgument for a service that is neither in the file nor has a container.
        """
        found = [one for one in self._site().members() if one_off or not one.one_off]
        there = {one.service for one in found}
        for name in services:
            if name not in there:
                self.project.service(name)
        return [one for one in found if not services or one.service in services]

    def containers(self, service: str | None = None) -> list[Container]:
        """Return the project's containers, running or not."""
        return [one.container for one in self.members([service] if service else ())]

    def container(self, service: str, index: int = 0) -> Container:
        """Return a service's container of this number, its first one for 0; raises ContainerNotFound."""
        found = [one for one in self.members([service]) if index in (0, one.number)]
        if not found:
            which = f"container {index}" if index else "container"
            raise ContainerNotFound(f"service {service} has no {which}", hint=f"start it: nbc compose up {service}")
        return found[0].container

    # up and down -----------------------------------------------------------------------------------------------------------------

    def up(
        self,
        services: Sequence[str] = (),
        *,
        build: bool = False,
        no_build: bool = False,
        pull: str = "",
        quiet_pull: bool = False,
        force_recreate: bool = False,
        no_recreate: bool = False,
        always_recreate_deps: bool = False,
        no_deps: bool = False,
        scale: Mapping[str, int] | None = None,
        remove_orphans: bool = False,
        renew_anon_volumes: bool = False,
        timeout: int | None = None,
        wait: bool = False,
        wait_timeout: float | None = None,
        parallel: int = MOST_AT_ONCE,
        start: bool = True,
        view: View | None = None,
        told: Tell = silent,
    ) -> list[Container]:
        """Make and start what is missing or changed, dependencies first; what is right already is left alone. Flags are Docker's.

        Returns the containers of the named services (all) and of what they need. When it is interrupted or fails, what was begun is
        finished and the rest not begun: the next ``up`` or ``down`` goes on. Raises what the first failing step raises.
        """
        site, recorder = self._site(), Recorder(told)
        site = replace(site, tell=recorder)
        active = self._permitted(services)
        wanted = Wanted(
            services=services,
            with_needs=not no_deps,
            policy="always" if force_recreate else "never" if no_recreate else "changed",
            needs_policy="always" if always_recreate_deps or (force_recreate and not services) else "never" if no_recreate else "changed",
            scale=scale or {},
            remove_orphans=remove_orphans,
            renew_anonymous_volumes=renew_anon_volumes,
            stop_timeout=timeout,
            start=start,
            wait=wait,
            wait_timeout=wait_timeout,
            at_once=parallel,
            making=Making(build=build, never_build=no_build, pull=pull, quiet_pull=quiet_pull, view=view),
        )
        try:
            return [one.container for one in up.up(replace(site, project=active), wanted)]
        finally:
            timeline.save(site.run_place, recorder.events)

    def scale(self, counts: Mapping[str, int], *, no_deps: bool = False, told: Tell = silent) -> list[Container]:
        """Have so many containers of these services, by name."""
        return self.up(list(counts), scale=counts, no_deps=no_deps, no_recreate=True, told=told)

    def down(
        self,
        services: Sequence[str] = (),
        *,
        volumes: bool = False,
        remove_orphans: bool = False,
        rmi: str = "",
        timeout: int | None = None,
        told: Tell = silent,
    ) -> None:
        """Stop and remove the project's containers, dependents first, and its networks; ``volumes`` removes those it made too.

        ``rmi`` takes images too: ``all``, or ``local`` for those without a name in the file. Nothing that the project did not make goes.
        """
        if rmi not in ("", "all", "local"):
            raise InvalidArgument(f"rmi {rmi!r} is not understood", hint="use all or local")
        site = self._site(told)
        unwanted = Unwanted(services=services, volumes=volumes, remove_orphans=remove_orphans, images=rmi, stop_timeout=timeout)
        down.down(site, unwanted)
        if not services:
            timeline.forget(site.run_place)

    def run(
        self,
        service: str,
        command: Sequence[str] = (),
        *,
        once: Once | None = None,
        no_deps: bool = False,
        detach: bool = False,
        told: Tell = silent,
    ) -> Container:
        """Make one more container of a service for another command, with what the service needs up; ``once`` says what else differs.

        Returns it created, or with ``detach`` running: ``start_attached`` or ``start`` and ``wait`` come next.
        """
        self._permitted([service])
        needs = [] if no_deps else list(self.project.service(service).depends_on)
        if needs:
            self.up(needs, no_recreate=True, told=told)
        site = replace(self._site(told), project=self.project.with_services([service]))
        container = oneoff.create(site, service, replace(once or Once(), command=tuple(command)))
        if detach:
            container.start()
        return container

    # what is there --------------------------------------------------------------------------------------------------------------

    def start(self, services: Sequence[str] = (), *, told: Tell = silent) -> list[Container]:
        """Start the containers that exist, dependencies first."""
        site = self._site(told)
        members = self.members(services)
        life.start(site, members)
        return [one.container for one in members]

    def stop(self, services: Sequence[str] = (), *, timeout: int | None = None, told: Tell = silent) -> list[Container]:
        """Stop the running containers, dependents first."""
        members = self.members(services)
        life.stop(self._site(told), members, timeout=timeout)
        return [one.container for one in members]

    def restart(
        self, services: Sequence[str] = (), *, timeout: int | None = None, no_deps: bool = False, told: Tell = silent
    ) -> list[Container]:
        """Stop and start the containers that exist, and those of services that are to be restarted with them (``depends_on: restart``)."""
        site = self._site(told)
        along = set() if no_deps or not services else life.restarted_with(self.project, services)
        members = self.members([*services, *sorted(along)]) if services else self.members()
        life.stop(site, members, timeout=timeout)
        return self.start([*services, *sorted(along)] if services else (), told=told)

    def kill(self, services: Sequence[str] = (), *, signal: str = "SIGKILL", told: Tell = silent) -> list[Container]:
        """Send a signal to the containers that run."""
        members = [one for one in self.members(services) if one.container.status in life.LIVE]
        life.kill(self._site(told), members, signal=signal)
        return [one.container for one in members]

    def pause(self, services: Sequence[str] = (), *, told: Tell = silent) -> list[Container]:
        """Freeze the running containers."""
        return [one.container for one in life.freeze(self._site(told), self.members(services))]

    def unpause(self, services: Sequence[str] = (), *, told: Tell = silent) -> list[Container]:
        """Let frozen containers go on."""
        return [one.container for one in life.freeze(self._site(told), self.members(services), thaw=True)]

    def rm(self, services: Sequence[str] = (), *, stop: bool = False, volumes: bool = False, told: Tell = silent) -> list[str]:
        """Remove the containers that do not run (``stop``: all, stopped first), ``volumes`` with their anonymous ones; returns names."""
        site = self._site(told)
        members = [one for one in self.members(services, one_off=True) if stop or one.container.status not in life.LIVE]
        life.each(site, members, lambda one: up.remove(site, one, volumes=volumes, services=self.project.services))
        return [one.name for one in members]

    def remove_orphans(self, *, told: Tell = silent) -> list[str]:
        """Remove the containers of services that the file has no more; returns their names."""
        site = self._site(told)
        members = orphans(site.members(), self.project)
        life.each(site, members, lambda one: up.remove(site, one))
        return [one.name for one in members]

    def wait(self, services: Sequence[str] = ()) -> dict[str, int]:
        """Wait until the containers have ended; returns their exit statuses by name."""
        return waiting.for_end(self.members(services))

    def logs(
        self,
        services: Sequence[str] = (),
        *,
        follow: bool = False,
        tail: int | str = "all",
        since: Moment | None = None,
        until: Moment | None = None,
        index: int = 0,
    ) -> Iterable[Said]:
        """Return the containers' lines, by the time they were written; with ``follow`` as they come, until all have ended.

        A stream that is followed is a :class:`.logs.Following`: close it, or use it in ``with``.
        """
        members = [one for one in self.members(services, one_off=True) if index in (0, one.number)]
        return Following(members, tail=tail, since=since) if follow else past(members, tail=tail, since=since, until=until)

    def events(self, services: Sequence[str] = (), *, since: Moment | None = None, until: Moment | None = None) -> EventStream:
        """Return what happens to the project's containers, as :meth:`~notebook_containers.Engine.events` does."""
        filters: dict[str, str | list[str]] = {"type": "container", "label": f"{labels.PROJECT}={self.name}"}
        if services:
            filters["label"] = [f"{labels.SERVICE}={name}" for name in services]
        return self._engine.events(since=since, until=until, filters=filters)

    def timeline(self) -> tuple[Span, ...]:
        """Return what took time in the last ``up`` that did something; empty after a ``down``."""
        return timeline.load(self._site().run_place)

    # images ---------------------------------------------------------------------------------------------------------------------

    def build(
        self,
        services: Sequence[str] = (),
        *,
        no_cache: bool = False,
        pull: bool = False,
        args: Mapping[str, str] | None = None,
        memory: str | None = None,
        with_dependencies: bool = False,
        view: View | None = None,
        told: Tell = silent,
    ) -> list[str]:
        """Build the images of services that have ``build``; returns their names."""
        self._permitted(services)
        site = self._site(told)
        making = Making(no_cache=no_cache, refresh_base=pull, args=args, memory=memory, view=view)
        return images.build_all(site, self._chosen(services, with_needs=with_dependencies), making)

    def pull(
        self,
        services: Sequence[str] = (),
        *,
        policy: str = "",
        ignore_buildable: bool = False,
        ignore_failures: bool = False,
        include_deps: bool = False,
        told: Tell = silent,
    ) -> list[str]:
        """Fetch the services' images; ``policy`` (always, missing) overrides theirs. Returns the names of what was asked for."""
        how = Pulling(policy=policy, ignore_buildable=ignore_buildable, ignore_failures=ignore_failures)
        return transfers.pull_all(self._site(told), self._chosen(services, with_needs=include_deps), how)

    def push(
        self, services: Sequence[str] = (), *, ignore_failures: bool = False, include_deps: bool = False, told: Tell = silent
    ) -> dict[str, str]:
        """Send the images of services that are built here to their registries; returns the digests there by name."""
        wanted = self._chosen(services, with_needs=include_deps)
        return transfers.push_all(self._site(told), wanted, ignore_failures=ignore_failures)

    def watch(self, services: Sequence[str] = (), *, prune: bool = True, stopped: Event | None = None, told: Tell = silent) -> None:
        """Follow the files that ``develop.watch`` names until interrupted or ``stopped``; InvalidArgument when there are none.

        ``prune`` removes the image that a rebuild left without a name.
        """
        from notebook_containers.compose.watching import Watching

        site = self._site(told)

        def rebuild(name: str) -> None:
            with images.without_what_is_replaced(site, self.project.service(name)) if prune else nullcontext():
                self.up([name], build=True, no_deps=True, told=told)

        def restart(name: str) -> None:
            self.restart([name], told=told)

        watching = Watching(site, self._chosen(services), rebuild, restart)
        if stopped is not None:
            Thread(target=watching.stop_after, args=(stopped,), name="nbc-watch-stop", daemon=True).start()
        watching.run()

    def _permitted(self, services: Sequence[str]) -> model.Project:
        """Return the project with the named services active; raises InvalidArgument for what the project's policy refuses."""
        active = self.project.with_services(services) if services else self.project
        privileges.check(active)
        return active

    def _chosen(self, names: Sequence[str], *, with_needs: bool = False) -> list[model.Service]:
        active = self.project.with_services(names) if names else self.project
        needs = self._site().needs(active.services)
        wanted = order.with_needs(names, needs) if with_needs else set(names)
        return [service for service in active.services if not names or service.name in wanted]

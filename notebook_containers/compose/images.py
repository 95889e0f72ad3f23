"""The images of a project's services: built, pulled, or found, before any container is made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from notebook_containers.compose import grants, order
from notebook_containers.compose.model import SERVICE_PREFIX, Build, Service
from notebook_containers.compose.progress import Told
from notebook_containers.compose.site import Site
from notebook_containers.errors import Conflict, Error, ImageNotFound, InvalidArgument, NotFound, RegistryError
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.build.progress import Event

View: TypeAlias = Callable[[str], AbstractContextManager[Callable[["Event"], None]]]
"""Opens a view of the build of one service."""

POLICIES = ("always", "missing", "never", "build", "if_not_present", "refresh", "daily", "weekly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How images are made: ``build`` also those that are there, ``never_build`` none, ``pull`` overrides the services' own policy."""

    build: bool = False
    never_build: bool = False
    pull: str = ""
    no_cache: bool = False
    quiet_pull: bool = False
    """Tell of pulls only what fails."""
    refresh_base: bool = False
    args: Mapping[str, str] | None = None
    memory: str | None = None
    view: View | None = None


def ensure(site: Site, services: Sequence[Service], making: Making) -> dict[str, str]:
    """Have an image for every service; returns their ids by the service's name. ImageNotFound for one that cannot be had.

    Pulls run at once; builds one after the other, those of images that others are built from first.
    """
    pulled = {service.name: service for service in services if _pulls(site, service, making)}
    order.run({name: set[str]() for name in pulled}, lambda name, _cancelled: _fetch(site, pulled[name], quiet=making.quiet_pull))
    for service in in_build_order([service for service in services if _builds(site, service, making)]):
        build(site, service, making)
    return {service.name: _image_id(site, service) for service in services}


def _fetch(site: Site, service: Service, *, quiet: bool) -> None:
    """Fetch an image that is not here, or not new enough; one that is here is used when its registry is not there."""
    try:
        pull(site, service, quiet=quiet)
    except RegistryError as err:
        if is_here(site, service):
            text = f"what is here is used: {err.message}"
            site.tell(Told(kind="image", name=site.image_name(service), phase="warning", service=service.name, text=text))
            return
        raise ImageNotFound(
            f"service {service.name}: no such image: {service.image}, and it cannot be fetched: {err.message}",
            hint=err.hint or "build it, or name another",
        ) from err


def _image_id(site: Site, service: Service) -> str:
    name = site.image_name(service)
    try:
        return site.engine.images.get(name).id
    except ImageNotFound as err:
        hint = f"build it: nbc compose build {service.name}" if service.build else err.hint
        raise ImageNotFound(f"service {service.name}: {err.message}", hint=hint) from err


def is_here(site: Site, service: Service) -> bool:
    """Tell whether a service's image is in the store."""
    try:
        site.engine.images.find(site.image_name(service))
    except ImageNotFound:
        return False
    return True


def _policy(service: Service, making: Making) -> str:
    return (making.pull or service.pull_policy or "missing").replace("if_not_present", "missing")


def _pulls(site: Site, service: Service, making: Making) -> bool:
    policy = _policy(service, making)
    if service.build is not None and (not service.image or policy in ("build", "missing")):
        return False  # what can be built is not asked for
    if policy == "always":
        return not site.image_name(service).startswith("localhost/")
    if policy in ("never", "build"):
        return False
    try:
        found = site.engine.images.get(site.image_name(service))
    except ImageNotFound:
        return True
    return policy == "refresh" and time.time() - found.created > (service.pull_refresh_after or 0)


def _builds(site: Site, service: Service, making: Making) -> bool:
    if service.build is None or making.never_build:
        return False
    return making.build or _policy(service, making) == "build" or not is_here(site, service)


def in_build_order(services: Sequence[Service]) -> list[Service]:
    """Return the services with those first whose images are contexts of others' builds (``additional_contexts: service:NAME``)."""
    by_name = {service.name: service for service in services}
    needs = {service.name: _built_from(service) for service in services}
    depth = order.levels(needs)
    return [by_name[name] for name in sorted(by_name, key=lambda name: depth[name])]


def _built_from(service: Service) -> set[str]:
    contexts = service.build.additional_contexts.values() if service.build else ()
    return {word.removeprefix(SERVICE_PREFIX) for word in contexts if word.startswith(SERVICE_PREFIX)}


def pull(site: Site, service: Service, *, quiet: bool = False) -> None:
    """Fetch a service's image; ``quiet`` tells only that it failed."""
    with telling(site, service, site.image_name(service), "pulling", "pulled", quiet=quiet):
        site.engine.images.pull(site.image_name(service), platform=service.platform)


@contextmanager
def telling(site: Site, service: Service, name: str, begins: str, ended: str, *, quiet: bool = False) -> Iterator[None]:
    """Tell that something begins with an image and, after the block, that it is over or failed."""

    def tell(phase: str, text: str = "") -> None:
        site.tell(Told(kind="image", name=name, phase=phase, service=service.name, text=text))

    if not quiet:
        tell(begins)
    try:
        yield
    except Error as err:
        tell("error", err.message)
        raise
    if not quiet:
        tell(ended)


def build_all(site: Site, services: Sequence[Service], making: Making) -> list[str]:
    """Build the images of those services that have a ``build`` section; returns their names."""
    chosen = [service for service in services if service.build is not None]
    for service in in_build_order(chosen):
        build(site, service, making)
    return [site.image_name(service) for service in chosen]


def build(site: Site, service: Service, making: Making) -> str:
    """Build a service's image with everything its ``build`` says; returns the image's id."""
    wanted = service.build
    if wanted is None:
        raise InvalidArgument(f"service {service.name} has no build section", hint="give it build: with a context")
    name = site.image_name(service)
    view = making.view(service.name) if making.view else nullcontext(None)
    with telling(site, service, name, "building", "built"), view as progress:
        result = site.engine.images.build(
            wanted.context,
            text=wanted.dockerfile_inline or None,
            dockerfile=None if wanted.dockerfile_inline else dockerfile(wanted),
            tag=list(dict.fromkeys([name, *wanted.tags])),
            buildargs={**wanted.args, **(making.args or {})},
            target=wanted.target,
            nocache=wanted.no_cache or making.no_cache,
            pull=wanted.pull or making.refresh_base,
            labels=wanted.labels,
            network=wanted.network or "default",
            extra_hosts=wanted.extra_hosts,
            ulimits=[{"Name": key, "Soft": limit.soft, "Hard": limit.hard} for key, limit in wanted.ulimits.items()],
            shmsize=wanted.shm_size,
            mem_limit=making.memory,
            cache_from=wanted.cache_from,
            cache_to=wanted.cache_to,
            secrets={grant.target or grant.source: grants.content("secret", grant, site.project.secrets) for grant in wanted.secrets},
            ssh=_agents(wanted),
            contexts={key: _context(site, word) for key, word in wanted.additional_contexts.items()},
            progress=progress,
        )
    return result.image.id


@contextmanager
def without_what_is_replaced(site: Site, service: Service) -> Iterator[None]:
    """Remove the image that a service has now when it has another after the block; one that has a name yet, or is used, stays."""
    try:
        before = site.engine.images.find(site.image_name(service))
    except ImageNotFound:
        yield
        return
    yield
    with suppress(NotFound, Conflict):  # somebody was quicker, or has a use for it
        old = site.engine.images.find(before.id)
        if not old.tags:
            site.engine.images.remove(old.id)
            site.tell(Told(kind="image", name=old.short_id, phase="removed", service=service.name))


def dockerfile(wanted: Build) -> str | Path:
    """Return the Dockerfile's place: in the context, or in what is at an address."""
    context = Path(wanted.context)
    return context / wanted.dockerfile if context.is_absolute() else wanted.dockerfile


def _agents(wanted: Build) -> dict[str, str]:
    from notebook_containers.engine.lending import read_agents

    words = [f"{name}={socket}" if socket else name for name, socket in wanted.ssh.items()]
    return dict(read_agents(words, Path("/"), os.environ))


def _context(site: Site, word: str) -> str:
    if not word.startswith(SERVICE_PREFIX):
        return word
    return f"docker-image://{site.image_name(site.project.service(word.removeprefix(SERVICE_PREFIX)))}"

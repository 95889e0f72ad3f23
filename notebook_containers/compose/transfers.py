"""``pull`` and ``push`` of a project: every image once, all at once, and what is left out is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from notebook_containers.compose import images, order
from notebook_containers.compose.model import Service
from notebook_containers.compose.progress import Told
from notebook_containers.compose.site import Site
from notebook_containers.errors import Error
from notebook_containers.lean import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulling:
    """What ``pull`` leaves out: ``policy`` (always, missing) overrides the services' own, ``ignore_buildable`` is what can be built."""

    policy: str = ""
    ignore_buildable: bool = False
    ignore_failures: bool = False


def pull_all(site: Site, services: Sequence[Service], how: Pulling) -> list[str]:
    """Fetch the images that have a name in the file, each once and all at once; returns the names.

    What is left out is told. Raises what the first failure raises, after all were tried: one that can be built says how.
    """
    wanted: dict[str, Service] = {}
    for service in services:
        why = _left(site, service, how)
        if why:
            site.tell(Told(kind="image", name=site.image_name(service), phase="skipped", service=service.name, text=why))
        else:
            wanted.setdefault(f"{service.image} {service.platform}", service)

    def act(key: str) -> None:
        try:
            images.pull(site, wanted[key])
        except Error as err:
            if wanted[key].build is not None:
                err.hint = "; ".join(filter(None, [err.hint, f"or build it: nbc compose build {wanted[key].name}"]))
            raise

    _each(list(wanted), act, ignore_failures=how.ignore_failures)
    return list(dict.fromkeys(service.image for service in wanted.values()))


def _left(site: Site, service: Service, how: Pulling) -> str:
    """Return why a service's image is not fetched, an empty text for one that is."""
    policy = how.policy or service.pull_policy
    if not service.image:
        return "there is no image to be pulled"
    if policy in ("never", "build"):
        return f"its pull_policy is {policy}"
    if policy in ("missing", "if_not_present") and images.is_here(site, service):
        return "it is here already"
    return "it can be built" if how.ignore_buildable and service.build is not None else ""


def push_all(site: Site, services: Sequence[Service], *, ignore_failures: bool = False) -> dict[str, str]:
    """Send the images that are built here, under every name that the file gives them; returns the digests there by name."""
    owners = {
        name: service
        for service in services
        if service.build is not None and service.image
        for name in (service.image, *service.build.tags)
    }
    names: dict[str, list[str]] = {}
    for name, service in owners.items():
        names.setdefault(service.name, []).append(name)
    found: dict[str, str] = {}

    def act(owner: str) -> None:
        for name in names[owner]:  # one after the other: the second finds the layers there
            with images.telling(site, owners[name], name, "pushing", "pushed"):
                found[name] = site.engine.images.push(name)

    _each(list(names), act, ignore_failures=ignore_failures)
    return {name: found[name] for name in owners if name in found}


def _each(names: Sequence[str], act: Callable[[str], None], *, ignore_failures: bool) -> None:
    """Do it for all at once, those too that come after a failure; raises the first one then."""
    failed: list[Error] = []

    def work(name: str, _cancelled: object) -> None:
        try:
            act(name)
        except Error as err:
            failed.append(err)

    order.run({name: set[str]() for name in names}, work)
    if failed and not ignore_failures:
        raise failed[0]

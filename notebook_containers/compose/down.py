"""``down``: dependents first, what the project owns and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from notebook_containers.compose import grants, life, resources, up
from notebook_containers.compose.labels import Member
from notebook_containers.compose.progress import Told
from notebook_containers.compose.site import Site, orphans
from notebook_containers.errors import Conflict, ImageNotFound
from notebook_containers.lean import dataclass


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
    life.each(site, goes, lambda one: _remove(site, one, unwanted))
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

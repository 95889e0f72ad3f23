"""``run``: one more container of a service with another command, which is no replica of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.compose import creating, digests, images, labels, resources
from notebook_containers.compose.images import Making
from notebook_containers.compose.site import Site
from notebook_containers.lean import dataclass, field, replace

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """What differs from the service's own containers; empty is as the service has it. ``ports`` and ``volumes`` are Docker's words."""

    command: Sequence[str] = ()
    name: str = ""
    entrypoint: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[str] = ()
    service_ports: bool = False
    use_aliases: bool = False
    user: str = ""
    working_dir: str = ""
    volumes: Sequence[str] = ()
    cap_add: Sequence[str] = ()
    cap_drop: Sequence[str] = ()
    stdin: bool = False
    tty: bool = False
    remove: bool = False
    making: Making = field(default_factory=Making)


def create(site: Site, name: str, once: Once) -> Container:
    """Make the container without starting it; what the service needs is the caller's to have up."""
    service = replace(site.project.service(name), container_name="", restart="")
    resources.ensure(site, [service])
    image_id = images.ensure(site, [service], once.making)[name]
    slug = os.urandom(6).hex()
    config_hash = digests.service_hash(site.project, service)
    given = creating.keywords(site, service, 0, config_hash, image_id, one_off=not once.use_aliases)
    given["name"] = once.name or f"{site.name}-{name}-run-{slug}"
    own = creating.own_labels(site, service, 0, config_hash, image_id, one_off=True)
    given["labels"] = {**own, **once.labels, labels.SLUG: slug}
    given["ports"] = [*(given.get("ports") or () if once.service_ports else ()), *once.ports]
    environment = given.get("environment")
    given["environment"] = {**(environment if isinstance(environment, Mapping) else {}), **once.environment}
    given["volumes"] = once.volumes
    given["tty"], given["stdin_open"], given["auto_remove"] = once.tty, once.stdin, once.remove
    given["restart_policy"] = None
    given["entrypoint"] = service.entrypoint if once.entrypoint is None else once.entrypoint
    given["user"] = once.user or given.get("user")
    given["working_dir"] = once.working_dir or given.get("working_dir")
    given["cap_add"] = [*service.cap_add, *once.cap_add]
    given["cap_drop"] = [*service.cap_drop, *once.cap_drop]
    command = list(once.command) or (None if once.entrypoint is not None else service.command)
    return site.engine.containers.create(site.image_name(service), command, **given)

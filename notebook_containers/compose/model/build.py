"""How a service's image is made, and what of its sources is watched."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.compose.model.process import Hook
from notebook_containers.compose.model.resources import Ulimit
from notebook_containers.compose.model.storage import Grant
from notebook_containers.lean import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How a service's image is built; ``context`` is an absolute path or an address, ``dockerfile`` as written ("" with an inline one).

    ``args`` have their values already: a name that nothing sets is not among them. ``additional_contexts`` are absolute paths, addresses,
    ``docker-image://…`` or ``service:NAME`` (the image of another service, built first). ``shm_size`` is bytes.
    """

    context: str
    dockerfile: str = "Dockerfile"
    dockerfile_inline: str = ""
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    additional_contexts: Mapping[str, str] = field(default_factory=dict)
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    entitlements: tuple[str, ...] = ()
    extra_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    isolation: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    privileged: bool = False
    provenance: str = ""
    pull: bool = False
    sbom: str = ""
    secrets: tuple[Grant, ...] = ()
    shm_size: int | None = None
    ssh: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    ulimits: Mapping[str, Ulimit] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One rule of ``develop.watch``: ``path`` is absolute; ``action`` is rebuild, restart, sync, sync+restart or sync+exec."""

    path: str
    action: str
    target: str = ""
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    initial_sync: bool = False
    exec: Hook | None = None

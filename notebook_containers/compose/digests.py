"""The hash by which ``up`` knows whether a container is what the file says: over everything that decides how a container is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from notebook_containers.compose.model import Deploy, Grant, Project, Secret, Service
from notebook_containers.lean import MISSING, fields, replace
from notebook_containers.oci.documents import JSON

_LARGEST_FILE = 1 << 20


def service_hash(project: Project, service: Service) -> str:
    """Return the service's configuration hash, hex digits: the same for the same meaning, however the file words it.

    How many containers there are, what they wait for, and how the image is made or got, change no container and do not count.
    """
    counted = replace(
        service, replicas=1, depends_on={}, profiles=(), build=None, pull_policy="", pull_refresh_after=None, watch=(), attach=True,
        env_file=(), label_file=(), deploy=_deployed(service),
    )  # fmt: skip
    whole: dict[str, JSON] = {
        "service": plain(counted),
        "networks": {key: plain(project.networks[key]) for key in service.networks if key in project.networks},
        "volumes": {mount.source: plain(project.volumes[mount.source]) for mount in service.volumes if mount.source in project.volumes},
        "secrets": [_content(grant, project.secrets) for grant in service.secrets],
        "configs": [_content(grant, project.configs) for grant in service.configs],
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _deployed(service: Service) -> Deploy | None:
    """Return the deployment without its number of containers; one that says nothing else is none."""
    found = replace(service.deploy, replicas=None) if service.deploy else None
    return None if found == Deploy() else found


def plain(value: object) -> JSON:
    """Return a value of the model as JSON, without members that are what they are when nobody says anything."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    found: dict[str, JSON] = {}
    for one in fields(value):  # type: ignore[arg-type]  # a class of the model
        item = getattr(value, one.name)
        default = one.default if one.default is not MISSING else one.default_factory() if callable(one.default_factory) else MISSING
        if item != default:
            found[one.name] = plain(item)
    return found


def _content(grant: Grant, known: Mapping[str, Secret]) -> JSON:
    """Return what stands for a secret's bytes: with others in it the container must be made anew."""
    secret = known.get(grant.source)
    data = b"" if secret is None or secret.content is None else secret.content.encode("utf-8", "surrogateescape")
    if secret is not None and secret.file:
        with suppress(OSError), open(Path(secret.file), "rb") as file:
            data = file.read(_LARGEST_FILE)
    return hashlib.sha256(data).hexdigest()

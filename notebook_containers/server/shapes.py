"""The engine's objects as the Docker Engine API writes them (``ContainerSummary``, ``ImageSummary``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.image import Image
    from notebook_containers.network.ports import PortMapping


def container_row(container: Container) -> dict[str, object]:
    """Return one row of ``GET /containers/json``."""
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.image,
        "Command": container.command,
        "Created": int(container.created),
        "State": container.status,
        "Status": container.status_text,
        "ExitCode": container.exit_code,
        "Ports": [port(each) for each in container.ports],
        "Labels": dict(container.labels),
    }


def port(mapping: PortMapping) -> dict[str, object]:
    """Return one published port of a container."""
    return {
        "IP": mapping.host_ip,
        "PrivatePort": mapping.container_port,
        "PublicPort": mapping.host_port,
        "Type": mapping.protocol,
    }


def image_row(image: Image) -> dict[str, object]:
    """Return one row of ``GET /images/json``; ``LayerCount`` is ours, Docker's list has no such figure."""
    return {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": [],
        "Created": int(image.created),
        "Size": image.size,
        "LayerCount": len(image.layers),
    }


def quoted(text: str) -> str:
    """Return text from a request as it may stand in a message: escaped, in quotes, at most 80 characters of it."""
    shown = text if len(text) <= 80 else f"{text[:79]}…"
    return json.dumps(shown)

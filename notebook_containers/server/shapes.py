"""The engine's objects as the Docker Engine API writes them (``ContainerSummary``, ``ImageSummary``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.image import Image
    from notebook_containers.network.ports import PortMapping


def container_row(container: Container, *, proxied: bool) -> dict[str, object]:
    """Return one row of ``GET /containers/json``; with ``proxied`` ports have a ``Link`` below the server's base address."""
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.image,
        "Command": container.command,
        "Created": int(container.created),
        "State": container.status,
        "Status": container.status_text,
        "ExitCode": container.exit_code,
        "Ports": [port(each, proxied=proxied) for each in container.ports],
        "Labels": dict(container.labels),
    }


def port(mapping: PortMapping, *, proxied: bool) -> dict[str, object]:
    """Return one published port of a container; ``Link`` is ours: where jupyter-server-proxy shows what listens there."""
    here = mapping.protocol == "tcp" and mapping.host_ip in ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104  # compared, not bound
    return {
        **({"Link": f"proxy/{mapping.host_port}/"} if proxied and here else {}),
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

"""The engine's objects as the Docker Engine API writes them (v1.47: ``ContainerSummary``, ``ImageSummary``, ``SystemVersion``)."""

from __future__ import annotations

import json
import os
import platform
from typing import TYPE_CHECKING

from notebook_containers import __version__

if TYPE_CHECKING:
    from notebook_containers.engine.containers import Container
    from notebook_containers.engine.images import Image
    from notebook_containers.network.ports import PortMapping

API_VERSION = "1.47"


def container_row(container: Container) -> dict[str, object]:
    """Return one row of ``GET /containers/json``."""
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.image,
        "Command": container.command,
        "Created": int(container.created),
        "State": container.state,
        "Status": container.status,
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
        "LayerCount": image.layers,
    }


def version() -> dict[str, object]:
    """Return ``GET /version``: what this package and this kernel are."""
    machine = os.uname()
    return {
        "Platform": {"Name": "notebook-containers"},
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "Os": machine.sysname.lower(),
        "Arch": machine.machine,
        "KernelVersion": machine.release,
        "PythonVersion": platform.python_version(),
    }


def quoted(text: str) -> str:
    """Return text from a request as it may stand in a message: escaped, in quotes, at most 80 characters of it."""
    shown = text if len(text) <= 80 else f"{text[:79]}…"
    return json.dumps(shown)

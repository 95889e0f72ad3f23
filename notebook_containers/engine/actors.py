"""Who a container is in its events, and the events that engines write themselves; monitors and execs write the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.runtime import document as documents
from notebook_containers.runtime.actor import FILE, Actor
from notebook_containers.runtime.document import Table

if TYPE_CHECKING:
    from notebook_containers.engine.parts import Parts


def introduce(parts: Parts, document: ContainerDocument, name: str) -> None:
    """Write who a new container is, and that it was created."""
    attributes = {**document.labels, "image": document.image, "name": name}
    _write(parts, document.id, {"id": document.id, "attributes": attributes})
    tell(parts, document.id, "create")


def rename(parts: Parts, container_id: str, old: str, new: str) -> None:
    """Write that a container has another name from now on."""
    who = _read(parts, container_id)
    who["attributes"] = {**documents.table(who, "attributes"), "name": new}
    _write(parts, container_id, {**who, "id": container_id})
    tell(parts, container_id, "rename", {"oldName": f"/{old}"})


def join(parts: Parts, document: ContainerDocument) -> None:
    """Write that a container was put into its network."""
    endpoint = document.endpoint
    who = _read(parts, document.id)
    if endpoint is None or not who:
        return
    network = endpoint.network_id or endpoint.network
    attributes: Table = {"name": endpoint.network, "type": "bridge"}
    _write(parts, document.id, {**who, "network": {"id": network, "attributes": attributes}})
    parts.emit("network", "connect", network, {**attributes, "container": document.id})


def tell(parts: Parts, container_id: str, action: str, more: Mapping[str, object] | None = None) -> None:
    """Write one event in a container's name."""
    run = os.fspath(parts.run / "c" / container_id[:12])
    Actor(run, os.fspath(parts.bundle_path(container_id))).tell(action, more)


def farewell(parts: Parts, container_id: str) -> Callable[[], None]:
    """Return what writes that a container is destroyed: who it was is read now, because it is gone by then."""
    who = _read(parts, container_id)

    def destroyed() -> None:
        if who:
            parts.emit("container", "destroy", container_id, documents.table(who, "attributes"))

    return destroyed


def _read(parts: Parts, container_id: str) -> Table:
    try:
        return documents.read(os.fspath(parts.bundle_path(container_id) / FILE))
    except (OSError, ValueError):
        return {}


def _write(parts: Parts, container_id: str, who: Table) -> None:
    documents.write(os.fspath(parts.bundle_path(container_id) / FILE), who)

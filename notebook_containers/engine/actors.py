"""Who a container is in its events, and the events that engines write themselves; monitors and execs write the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.engine.documents import ContainerDocument, Endpoint, MountPoint
from notebook_containers.runtime import document as documents
from notebook_containers.runtime.actor import FILE, Actor
from notebook_containers.runtime.document import Table

if TYPE_CHECKING:
    from notebook_containers.engine.parts import Parts


def introduce(parts: Parts, document: ContainerDocument, name: str) -> None:
    """Write who a new container is, and that it was created."""
    attributes = {**document.labels, "image": document.image, "name": name}
    volumes = [_volume(point) for point in document.mounts if point.volume]
    _write(parts, document.id, {"id": document.id, "attributes": attributes, **({"volumes": volumes} if volumes else {})})
    tell(parts, document.id, "create")


def _volume(point: MountPoint) -> Table:
    words = {
        "destination": point.target,
        "driver": "local",
        "propagation": point.propagation,
        "read/write": str(not point.read_only).lower(),
    }
    return {"id": point.volume, "attributes": words}


def rename(parts: Parts, container_id: str, old: str, new: str) -> None:
    """Write that a container has another name from now on."""
    who = _read(parts, container_id)
    who["attributes"] = {**documents.table(who, "attributes"), "name": new}
    _write(parts, container_id, {**who, "id": container_id})
    tell(parts, container_id, "rename", {"oldName": f"/{old}"})


def join(parts: Parts, document: ContainerDocument, new: Sequence[Endpoint]) -> None:
    """Write that a container was put into networks; those of its document are all that it is in now."""
    who = _read(parts, document.id)
    if not document.endpoints or not who:
        return
    _write(parts, document.id, {**who, "networks": [_network(place) for place in document.endpoints]})
    _tell_networks(parts, "connect", document.id, new)


def leave(parts: Parts, document: ContainerDocument, gone: Sequence[Endpoint]) -> None:
    """Write that a running container was taken out of networks."""
    who = _read(parts, document.id)
    if who:
        _write(parts, document.id, {**who, "networks": [_network(place) for place in document.endpoints]})
        _tell_networks(parts, "disconnect", document.id, gone)


def _network(place: Endpoint) -> Table:
    return {"id": place.network_id or place.network, "attributes": {"name": place.network, "type": "bridge"}}


def _tell_networks(parts: Parts, action: str, container_id: str, places: Sequence[Endpoint]) -> None:
    for place in places:
        attributes = documents.table(_network(place), "attributes")
        parts.emit("network", action, place.network_id or place.network, {**attributes, "container": container_id})


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

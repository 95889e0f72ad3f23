"""Putting a container into a network and taking it out, running or not: record, link, route, names and events stay true together."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from notebook_containers.engine import actors, announcing, generated, launch, publishing
from notebook_containers.engine.documents import ContainerDocument, Endpoint
from notebook_containers.engine.network_words import DEFAULT, Attachment, is_own
from notebook_containers.engine.rights import Rights
from notebook_containers.errors import Conflict, Unsupported
from notebook_containers.lean import replace
from notebook_containers.oci.documents import untrusted_json

if TYPE_CHECKING:
    from notebook_containers.engine.networks import Networks
    from notebook_containers.engine.parts import Parts
    from notebook_containers.runtime.state import ContainerState


def connect(parts: Parts, networks: Networks, container_id: str, wanted: Attachment) -> None:
    """Put the container into a network; on failure it is as it was. See :meth:`Networks.connect`."""
    with parts.container_lock(container_id), networks.held(), ExitStack() as undo:
        name, document = _look(parts, container_id)
        _check_own_network(name, document)
        _check_ordinary_user(parts, name, document, wanted.network)
        if any(place.network == wanted.network for place in document.wanted()):
            raise Conflict(f"container {name} is in network {wanted.network} already", hint="disconnect it first to change its place")
        changed = replace(document, attachments=(*document.wanted(), wanted))
        state = _running(parts, container_id, name)
        if state is None:
            _write(parts, changed)
            return
        endpoint = networks.lease(wanted, container_id, interface=_free_interface(document))
        undo.callback(networks.release, container_id, network_id=endpoint.network_id)
        _attach(networks, document, endpoint, state)
        undo.callback(networks.detach, endpoint, container_id)
        changed = replace(changed, endpoints=(*document.endpoints, endpoint))
        networks.choose_way_out(changed.endpoints, pid=state.pid)
        changed = publishing.follow(parts, document, changed)
        _write(parts, changed)
        generated.rewrite(changed, parts.bundle_path(container_id))
        announcing.announce(parts, changed, state)
        undo.pop_all()
    actors.join(parts, changed, [endpoint])


def _attach(networks: Networks, document: ContainerDocument, endpoint: Endpoint, state: ContainerState) -> None:
    with networks.making_ready([endpoint], lasting=True):
        pass
    rights = Rights.of(document.options, networks.machine)
    networks.attach(endpoint, pid=state.pid, container_id=document.id, while_pid=state.monitor_pid, rights=rights, way_out=False)


def disconnect(parts: Parts, networks: Networks, container_id: str, network: str) -> None:
    """Take the container out of a network. See :meth:`Networks.disconnect`."""
    with parts.container_lock(container_id), networks.held():
        name, document = _look(parts, container_id)
        if not any(place.network == network for place in document.wanted()):
            raise Conflict(f"container {name} is not in network {network}", hint=f"see nbc inspect {name}")
        state = _running(parts, container_id, name)
        left = tuple(place for place in document.wanted() if place.network != network)
        gone = [place for place in document.endpoints if place.network == network]
        changed = replace(document, attachments=left, endpoints=tuple(place for place in document.endpoints if place not in gone))
        _write(parts, changed)
        if state is not None:
            for place in gone:
                networks.detach(place, container_id)
            networks.choose_way_out(changed.endpoints, pid=state.pid)
            changed = publishing.follow(parts, document, changed)
            _write(parts, changed)
            generated.rewrite(changed, parts.bundle_path(container_id))
            if announcing.named(changed):
                announcing.announce(parts, changed, state)
            elif announcing.named(document):
                announcing.withdraw(parts, changed)
        for place in gone:
            networks.release(container_id, network_id=place.network_id)
    if state is not None:
        actors.leave(parts, changed, gone)


def _check_ordinary_user(parts: Parts, name: str, document: ContainerDocument, network: str) -> None:
    """The default network of an ordinary user is in no namespace that containers share: it can neither be joined nor left for another."""
    if parts.host.rootless and DEFAULT in (network, *(place.network for place in document.wanted())):
        words = f"container {name}: an ordinary user's default network cannot be combined with others"
        raise Unsupported(words, hint="make it in one of your networks: nbc run --network NAME")


def _look(parts: Parts, container_id: str) -> tuple[str, ContainerDocument]:
    row = parts.store.records.container(container_id)
    return row.name, ContainerDocument.from_json(untrusted_json(row.document.encode(), what="container record"))


def _check_own_network(name: str, document: ContainerDocument) -> None:
    mode = document.options.network
    if not is_own(mode):
        raise Conflict(f"container {name} cannot be put into a network: it was made with --network {mode}", hint="make it anew without")


def _running(parts: Parts, container_id: str, name: str) -> ContainerState | None:
    """Return the state of a container that has a first process now, None when it does not run."""
    state = launch.state(parts, container_id)
    if state.status == "restarting":
        raise Conflict(f"container {name} is restarting", hint="try again when it runs, or stop it first")
    return state if state.status in ("running", "paused") and state.pid else None


def _write(parts: Parts, document: ContainerDocument) -> None:
    parts.store.records.update_container(document.id, document=launch.text_of(document))


def _free_interface(document: ContainerDocument) -> str:
    taken = {place.interface for place in document.endpoints}
    return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)

"""What the resolver is told of a container: its names in each user-defined network, there while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from notebook_containers.engine import launch
from notebook_containers.engine.bridges import shared_bridges
from notebook_containers.engine.documents import ContainerDocument, Endpoint
from notebook_containers.engine.network_document import parse
from notebook_containers.engine.network_words import DEFAULT
from notebook_containers.errors import Error
from notebook_containers.network import naming
from notebook_containers.network.directory import Member, Place
from notebook_containers.network.naming import Newcomer
from notebook_containers.oci.documents import untrusted_json

if TYPE_CHECKING:
    from notebook_containers.engine.parts import Parts
    from notebook_containers.runtime.state import ContainerState


def named(document: ContainerDocument) -> list[Endpoint]:
    """Return the places where a container has names: in every network but the default one, as in Docker."""
    return [place for place in document.endpoints if place.network != DEFAULT and place.network_id]


def announce(parts: Parts, document: ContainerDocument, state: ContainerState) -> None:
    """Name a container that is about to start, or that is in other networks now; nothing happens for one without names."""
    member = _member(parts, document)
    if not member.places:
        return
    if state.status != "created" and naming.change(parts.run, member):
        return
    newcomer = Newcomer(member=member, pid=state.pid, while_pid=state.monitor_pid)
    shared = shared_bridges(parts)
    naming.join(parts.run, newcomer, lambda: _everyone(parts, document.id), inside=shared.sockets if shared else None)


@contextmanager
def expected(parts: Parts, document: ContainerDocument) -> Iterator[None]:
    """Start the resolver, where there is none, beside what the block does to make a container that is going to be named.

    When the block fails, a resolver that nobody else needs ends.
    """
    if naming.answers(parts.run):
        yield
        return
    shared = shared_bridges(parts)

    def begin() -> None:
        with suppress(Error):  # announce tries again, and its error is told
            naming.begin(parts.run, lambda: _everyone(parts, document.id), inside=shared.sockets if shared else None)

    beside = threading.Thread(target=begin, name="nbc-names")
    beside.start()
    try:
        yield
    except BaseException:
        beside.join()
        with suppress(Error):
            withdraw(parts, document)
        raise
    beside.join()


def withdraw(parts: Parts, document: ContainerDocument) -> None:
    """Forget the names of a container that is in no network any more where it had some."""
    naming.change(parts.run, Member(id=document.id, places=()))


def _member(parts: Parts, document: ContainerDocument) -> Member:
    places = named(document)
    name = parts.store.records.container(document.id).name if places else ""
    return Member(id=document.id, places=tuple(_place(parts, document, name, place) for place in places), servers=document.options.dns)


def _place(parts: Parts, document: ContainerDocument, name: str, place: Endpoint) -> Place:
    network = parse(parts.store.records.network(place.network_id).document)
    return Place(
        network=network.id,
        title=network.name.lower(),
        names=document.names_in(place, name),
        addresses=tuple(address for address in (place.address, place.address6) if address),
        subnets=tuple(subnet for subnet in (network.subnet, network.subnet6) if subnet),
        internal=network.internal,
        links=place.links,
    )


def _everyone(parts: Parts, but: str) -> Iterator[Newcomer]:
    """Yield the running containers that have names, for a resolver that was started anew because the last one was killed."""
    for row in parts.store.records.containers():
        document = ContainerDocument.from_json(untrusted_json(row.document.encode(), what="container record"))
        if document.id != but and named(document):
            state = launch.state(parts, document.id)
            if state.status in ("running", "paused") and state.pid:
                yield Newcomer(member=_member(parts, document), pid=state.pid, while_pid=state.monitor_pid)

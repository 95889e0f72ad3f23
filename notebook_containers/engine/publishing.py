"""A container's published ports: held from its start to its end, and changed while it runs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias

from notebook_containers import network as net
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.namespace_words import JOIN
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import Conflict, InvalidArgument, NetworkError, NotFound
from notebook_containers.lean import replace
from notebook_containers.network import ports
from notebook_containers.network.ports import PortMapping
from notebook_containers.oci.documents import untrusted_json

if TYPE_CHECKING:
    from notebook_containers.runtime.state import ContainerState

Held: TypeAlias = tuple[Sequence[socket.socket], tuple[PortMapping, ...]]
_ENDING_S = 5.0


class PortUrl(str):
    """The address of a published port; ``host_ip`` and ``host_port`` are where it listens, ``path`` what follows."""

    __slots__ = ("host_ip", "host_port", "path")

    host_ip: str
    host_port: int
    path: str


def url(name: str, published: Sequence[PortMapping], port: str, *, scheme: str, path: str) -> PortUrl:
    """Return the address of a container's published port, seen from this machine; NotFound when it is not published."""
    number, _, protocol = port.partition("/")
    for mapping in published:
        if (str(mapping.container_port), mapping.protocol) == (number, protocol or "tcp"):
            here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(mapping.host_ip, mapping.host)  # noqa: S104  # compared, not bound
            found = PortUrl(f"{scheme}://{here}:{mapping.host_port}/{path.lstrip('/')}")
            found.host_ip, found.host_port, found.path = mapping.host_ip, mapping.host_port, path.lstrip("/")
            return found
    raise NotFound(f"port {port} of container {name} is not published", hint=f"publish it: nbc update -p {port} {name}")


def wanted(document: ContainerDocument) -> tuple[PortMapping, ...]:
    """Return the ports that the container is to have in its next life, those of ``--publish-all`` with them; InvalidArgument for none."""
    found = list(document.options.ports)
    if document.options.publish_all:
        found += [port for word in (*document.config.exposed_ports, *document.options.expose) for port in ports.parse(word)]
    network = document.options.network
    if found and (network in ("host", "none") or network.startswith(JOIN)):
        raise InvalidArgument(f"ports cannot be published with --network {network}", hint="leave out -p or --network")
    return tuple(found)


def reserve(parts: Parts, document: ContainerDocument, mappings: Sequence[PortMapping]) -> Held:
    """Bind the ports; Conflict names whose a taken one is. The container's own forwarder of an earlier life gets the time to end."""
    if not mappings:
        return (), ()
    own = {mapping.place for mapping in document.ports}
    deadline = time.monotonic() + (_ENDING_S if own & {mapping.place for mapping in mappings} else 0)
    while True:
        try:
            return ports.reserve(mappings, who=lambda mapping: holder(parts, mapping))
        except Conflict:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def holder(parts: Parts, mapping: PortMapping) -> str:
    """Return who has a port, as "container web, nbc-forward (pid 123)"; an empty text when nobody can be seen."""
    from notebook_containers.engine.launch import state

    program = ports.holder(mapping.host_port, mapping.protocol)
    for row in parts.store.records.containers():
        document = ContainerDocument.from_json(untrusted_json(row.document.encode(), what="container record"))
        if any(_meet(mapping, other) for other in document.ports) and state(parts, row.id).status in ("running", "paused", "restarting"):
            return f"container {row.name}, {program}" if program else f"container {row.name}"
    return program


def _meet(one: PortMapping, other: PortMapping) -> bool:
    anywhere = {one.host_ip, other.host_ip} & {"0.0.0.0", "::"}  # noqa: S104  # compared, not bound
    return (one.protocol, one.host_port) == (other.protocol, other.host_port) and (one.host_ip == other.host_ip or bool(anywhere))


def carry(parts: Parts, document: ContainerDocument, sockets: Sequence[socket.socket], state: ContainerState) -> tuple[str, ...]:
    """Start what carries the document's ports, for which the sockets were reserved, into the container; returns warnings in words."""
    with ExitStack() as stack:
        redirection, warnings = _redirection(parts, document, document.ports)
        if redirection is not None:
            stack.callback(os.close, redirection)
        net.forward.start(
            sockets,
            document.ports,
            pid=state.pid,
            address=_address(parts, document),
            while_pid=state.monitor_pid,
            control=parts.run / "c" / document.id[:12],
            redirection=redirection,
        )
    return warnings


def _address(parts: Parts, document: ContainerDocument) -> str | None:
    """Return where the container's ports are, as this machine sees it: in the network that is its way out; None for its own loopback."""
    if parts.host.rootless:
        return None
    place = document.way_out or document.endpoint
    return place.address if place and place.address else None


def follow(parts: Parts, before: ContainerDocument, document: ContainerDocument) -> ContainerDocument:
    """Lead the ports of a running container, which has changed its networks, to where it is now; to nowhere when it is in none.

    The caller holds the container's lock, and keeps the document that is returned. Connections that are open stay.
    """
    old, new = _address(parts, before), _address(parts, document)
    if not document.ports or old == new:
        return document
    redirection, warnings = _redirection(parts, document, document.ports)
    try:
        net.forward.change(parts.run / "c" / document.id[:12], address=new or "", redirection=redirection)
    finally:
        if redirection is not None:
            os.close(redirection)
    if old:
        net.redirect.forget_mappings(old, document.ports)
    return replace(document, warnings=tuple(dict.fromkeys((*document.warnings, *warnings))))


def _redirection(parts: Parts, document: ContainerDocument, mappings: Sequence[PortMapping]) -> tuple[int | None, tuple[str, ...]]:
    """Lead what comes from other machines straight into the container; without that the forwarder carries it, as the gateway."""
    address, open_ones = _address(parts, document), net.redirect.possible(mappings)
    if address is None or not open_ones:
        return None, ()
    try:
        if reasons := net.redirect.obstacles():
            raise NetworkError(reasons[0])
        return net.redirect.start(address, open_ones), ()
    except NetworkError as err:
        return None, (f"clients of published ports are seen as the network's gateway, not by their own address: {err.message}",)


def change(
    parts: Parts, document: ContainerDocument, state: ContainerState, *, more: Sequence[PortMapping] = (), fewer: Sequence[str] = ()
) -> ContainerDocument:
    """Publish further ports and take others back (:func:`~notebook_containers.network.ports.unpublished`), at once when it runs.

    The caller holds the container's lock. Connections through a port that is taken back end; others stay. Returns the new document,
    which is in the store. Conflict for a taken port: then nothing has changed.
    """
    before, alive = wanted(document), state.status in ("running", "paused", "restarting")
    present = document.ports if alive else before
    leaving = {id(mapping) for text in fewer for mapping in ports.unpublished(text, present)}
    kept = [pair for pair in zip(before, present, strict=True) if id(pair[1]) not in leaving]
    # what --publish-all meant is written out: without one of them it would mean something else
    options = replace(document.options, ports=(*(wish for wish, _ in kept), *more), publish_all=False)
    changed = replace(document, options=options)
    wanted(changed)
    if alive:
        closed = [mapping for mapping in present if id(mapping) in leaving]
        changed = _live(parts, changed, state, kept=[mapping for _, mapping in kept], more=more, closed=closed)
    parts.store.records.update_container(document.id, document=changed.to_bytes().decode())
    return changed


def _live(
    parts: Parts,
    document: ContainerDocument,
    state: ContainerState,
    *,
    kept: Sequence[PortMapping],
    more: Sequence[PortMapping],
    closed: Sequence[PortMapping],
) -> ContainerDocument:
    control = parts.run / "c" / document.id[:12]
    if {mapping.place for mapping in more} & {mapping.place for mapping in closed}:
        net.forward.change(control, closed=closed)  # the port is to lead elsewhere
    sockets, added = reserve(parts, document, more)
    changed = replace(document, ports=(*kept, *added))
    if not document.ports:
        warnings = carry(parts, changed, sockets, state) if sockets else ()
    else:
        redirection, warnings = _redirection(parts, changed, changed.ports)
        try:
            net.forward.change(control, sockets=sockets, mappings=added, closed=closed, redirection=redirection)
        finally:
            if redirection is not None:
                os.close(redirection)
        if closed and (address := _address(parts, document)):
            net.redirect.forget_mappings(address, closed)
    return replace(changed, warnings=tuple(dict.fromkeys((*changed.warnings, *warnings))))

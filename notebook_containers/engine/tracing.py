"""``nbc network trace a b:80``: hop by hop how a packet goes from a container, and where it stops.

What is told is what the kernel answers: the name is asked for, the route looked up and the connection tried in the container's own
namespaces. The firewall's rule is worked out from the networks; when the connection came about, it has let it pass.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from notebook_containers.engine import generated, launch, words
from notebook_containers.engine.documents import ContainerDocument, Endpoint
from notebook_containers.engine.network_words import DEFAULT
from notebook_containers.errors import Conflict, InvalidArgument
from notebook_containers.lean import dataclass
from notebook_containers.network import bridge, firewall, listening, names, probe, redirect, userland
from notebook_containers.network.probe import Answer
from notebook_containers.oci.documents import untrusted_json

if TYPE_CHECKING:
    from notebook_containers.engine.networks import Networks
    from notebook_containers.engine.parts import Parts
    from notebook_containers.runtime.state import ContainerState
    from notebook_containers.store.records import ContainerRow

_TARGET = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:/\[\]\s]+)(?::(?P<port>[0-9]{1,5}))?(?:/(?P<protocol>tcp|udp))?")
_ALIVE = ("running", "paused")
_DNS = 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One step of the way: ``hop`` is container, name, route, link, firewall, listener or connection; the last one may not pass."""

    hop: str
    where: str
    passes: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """What is known of the way: who goes, where to, what the kernel answered, and whose address that is."""

    parts: Parts
    networks: Networks
    name: str
    document: ContainerDocument
    target: str
    port: int
    protocol: str
    answer: Answer
    found_in_hosts: bool
    other: _Other | None

    @property
    def connected(self) -> bool:
        """Whether the connection came about: then nothing on the way has stopped it."""
        return not self.answer.stage and bool(self.port) and self.protocol == "tcp"

    @property
    def place(self) -> Endpoint | None:
        """The container's place in the network that its packet goes out by."""
        return next((place for place in self.document.endpoints if place.interface == self.answer.interface), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Other:
    """The container that has the address."""

    name: str
    document: ContainerDocument
    state: ContainerState
    place: Endpoint


def trace(parts: Parts, networks: Networks, source: str, target: str) -> list[Hop]:
    """Return the way from the container ``source`` to ``target`` (NAME[:PORT][/udp]); it ends with the first hop that does not pass.

    Conflict when ``source`` does not run, InvalidArgument for a target that is none.
    """
    match = _TARGET.fullmatch(target)
    if match is None or int(match["port"] or 0) > 65535:
        raise InvalidArgument(f"{target!r} is no target", hint="write NAME:PORT, ADDRESS:PORT or NAME:PORT/udp")
    row = parts.store.records.find_container(source)
    document, state = _document(row), launch.state(parts, row.id)
    if state.status not in _ALIVE or not state.pid:
        raise Conflict(f"container {row.name} is {state.status}: nothing can go out of it", hint=f"start it: nbc start {row.name}")
    name, port, protocol = match["name"].strip("[]"), int(match["port"] or 0), match["protocol"] or "tcp"
    directory = parts.bundle_path(row.id)
    known = names.address_in_hosts((directory / "hosts").read_text(), name)
    servers, search = names.servers_and_search(_resolver(parts, document))
    answer = probe.ask(state.pid, known or name, port, protocol, servers=servers, search=search)
    way = _Way(
        parts=parts, networks=networks, name=row.name, document=document, target=name, port=port, protocol=protocol,
        answer=answer, found_in_hosts=bool(known), other=_whose(parts, answer.address),
    )  # fmt: skip
    return [*_until_it_stops(way)]


def _until_it_stops(way: _Way) -> Iterator[Hop]:
    for hop in _hops(way):
        yield hop
        if not hop.passes:
            return


def _hops(way: _Way) -> Iterator[Hop]:
    yield _name(way)
    yield _route(way)
    if not way.answer.local:
        yield from _link(way)
        yield _firewall(way)
    if way.port and (way.other or way.answer.local):
        yield _listener(way)
    if way.port and way.protocol == "tcp":
        yield _connection(way)


def _name(way: _Way) -> Hop:
    if way.answer.stage == "name":
        return Hop(hop="name", where=way.target, passes=False, detail=f"{way.answer.problem}{_strangers(way)}")
    if way.found_in_hosts:
        return Hop(hop="name", where="/etc/hosts", passes=True, detail=f"{way.target} is {way.answer.address}")
    if not way.answer.server:
        return Hop(hop="name", where=way.target, passes=True, detail="is an address")
    who = "the networks' resolver" if way.answer.server == names.RESOLVER else way.answer.server
    return Hop(hop="name", where=who, passes=True, detail=f"{way.target} is {way.answer.address}")


def _strangers(way: _Way) -> str:
    """Say that a container of that name is there, and why its name is not known."""
    for row in way.parts.store.records.containers():
        if row.name == way.target:
            theirs = ", ".join(place.network for place in _document(row).endpoints) or "no network"
            ours = ", ".join(place.network for place in way.document.endpoints) or "no network"
            running = launch.state(way.parts, row.id).status in _ALIVE
            why = f"container {row.name} is in {theirs}, {way.name} in {ours}" if running else f"container {row.name} does not run"
            return f": {why}" + (", and the default network has no names" if running and "bridge" in (theirs, ours) else "")
    return ""


def _route(way: _Way) -> Hop:
    answer = way.answer
    if answer.stage == "route":
        inside = [
            place.network for place in way.document.endpoints if place.network_id and way.networks.subnets.config(place.network_id).internal
        ]
        why = f": network {', '.join(inside)} is internal and has no way out" if inside else ""
        return Hop(hop="route", where=way.name, passes=False, detail=f"no route to {answer.address}: {answer.problem.lower()}{why}")
    if answer.local:
        return Hop(hop="route", where=way.name, passes=True, detail=f"{answer.address} is its own address")
    via = f"through the gateway {answer.gateway}" if answer.gateway else "directly"
    return Hop(hop="route", where=way.name, passes=True, detail=f"{answer.address} by {answer.interface}, {via}")


def _link(way: _Way) -> Iterator[Hop]:
    place = way.place
    if place is None:
        return
    if not place.address:
        tool = userland.find()
        yield Hop(hop="link", where=place.interface, passes=tool is not None, detail=f"carried by {tool.name if tool else 'nothing'}")
        return
    config = way.networks.subnets.config(place.network_id)
    port = bridge.port_name(config, way.document.id)
    yield Hop(hop="link", where=f"network {place.network}", passes=True, detail=f"{place.interface} is {port} on the bridge {config.link}")


def _firewall(way: _Way) -> Hop:
    chain, passes, why = _judge(way)
    where = f"table inet {firewall.TABLE}, chain {chain}" if chain else "no rule applies"
    return Hop(hop="firewall", where=where, passes=passes or way.connected, detail=why)


def _judge(way: _Way) -> tuple[str, bool, str]:
    """Return the chain that decides, whether it lets the packet pass, and why; in the order of the rules in :mod:`..network.firewall`."""
    place, address = way.place, ipaddress.ip_address(way.answer.address)
    if place is None or not place.address:
        return "", True, "it is in the machine's own network" if place is None else "an ordinary user's way out has no rules of ours"
    config = way.networks.subnets.config(place.network_id)
    if way.other and way.other.place.network_id == place.network_id:
        if config.driver == DEFAULT and not config.icc:
            return "", False, f"drop: network {place.network} was made with icc=false: the ports of its bridge are kept apart"
        return "", True, "both are on one bridge, which switches it"
    if way.other or way.networks.subnets.owner(str(address)) not in ("", place.network):
        owner = way.other.place.network if way.other else way.networks.subnets.owner(str(address))
        return "forward", False, f"drop: networks {place.network} and {owner} are kept apart; nbc network connect {owner} {way.name}"
    if str(address) == place.gateway or _is_this_machine(str(address)):
        admitted = words.wants_host(way.document.options.extra_hosts) and not config.internal
        if admitted:
            return "input", True, "accept: it was made with --add-host NAME:host-gateway"
        return "input", False, "drop: services of this machine are not reached, unless a container has --add-host NAME:host-gateway"
    if firewall.is_metadata(str(address)) and way.port != _DNS:
        return "forward", False, "drop: the cloud's metadata and link-local addresses are not reached"
    if not way.connected and not way.parts.host.rootless and (reasons := redirect.obstacles()):
        return "forward", False, reasons[0]
    return "postrouting", True, "accept: masqueraded as this machine"


def _is_this_machine(address: str) -> bool:
    try:
        return probe.route(address).local
    except OSError:
        return False


def _listener(way: _Way) -> Hop:
    name, pid, container_id = way.name, 0, way.document.id
    if way.other:
        name, pid, container_id = way.other.name, way.other.state.pid, way.other.document.id
    pid = pid or launch.state(way.parts, container_id).pid
    found = listening.listeners(pid, way.protocol, way.parts.runtime.pids(container_id))
    here = [listener for listener in found if listener.port == way.port]
    open_ones = [listener for listener in here if way.answer.local or not ipaddress.ip_address(listener.address).is_loopback]
    if open_ones:
        who = open_ones[0].program or "a program"
        return Hop(hop="listener", where=name, passes=True, detail=f"{who} listens on {open_ones[0].address}, port {way.port}")
    if here:
        detail = f"{here[0].program or 'a program'} listens on {here[0].address} only, which others do not reach: make it listen on 0.0.0.0"
        return Hop(hop="listener", where=name, passes=way.connected, detail=detail)
    theirs = [listener for listener in found if listener.address != names.RESOLVER]
    others = ", ".join(dict.fromkeys(f"{listener.port} ({listener.program or '?'})" for listener in theirs)) or "nothing"
    detail = f"nothing listens on port {way.port}/{way.protocol}; what listens: {others}"
    return Hop(hop="listener", where=name, passes=way.connected, detail=detail)


def _connection(way: _Way) -> Hop:
    where = f"{way.answer.address}:{way.port}"
    if way.connected:
        return Hop(hop="connection", where=where, passes=True, detail=f"connected in {way.answer.took_s * 1000:.1f} ms")
    return Hop(hop="connection", where=where, passes=False, detail=f"{way.answer.problem.lower()}: beyond what can be seen from here")


def _whose(parts: Parts, address: str) -> _Other | None:
    if not address:
        return None
    for row in parts.store.records.containers():
        document = _document(row)
        for place in document.endpoints:
            if address in (place.address, place.address6):
                state = launch.state(parts, row.id)
                if state.status in _ALIVE:
                    return _Other(name=row.name, document=document, state=state, place=place)
    return None


def _resolver(parts: Parts, document: ContainerDocument) -> str:
    if document.options.network == "host":
        return generated.host_resolver()
    return (parts.bundle_path(document.id) / "resolv.conf").read_text()


def _document(row: ContainerRow) -> ContainerDocument:
    return ContainerDocument.from_json(untrusted_json(row.document.encode(), what="container record"))

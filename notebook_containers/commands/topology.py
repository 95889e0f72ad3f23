"""Who is connected to whom: networks with their subnets, containers with their addresses, published ports, the host; and that as text."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.commands import figures
from notebook_containers.commands.text import one_line
from notebook_containers.errors import NetworkNotFound
from notebook_containers.lean import dataclass, replace
from notebook_containers.oci.documents import JSON

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.engine import Engine
    from notebook_containers.engine.network import Network

HOST, NONE = "host", "none"
_LIVE = ("running", "paused", "restarting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A range of addresses and the one in it that leads out, empty when none does."""

    subnet: str
    gateway: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkBox:
    """One network; an ``internal`` one has no way out, the others' is ``outward`` in words."""

    name: str
    driver: str
    subnets: tuple[Subnet, ...] = ()
    internal: bool = False
    outward: str = "outward through the host"

    def way_out(self) -> str:
        """Return in words how packets leave it."""
        if self.internal:
            return "internal: no way out"
        return {"macvlan": "on the host's own link", "ipvlan": "on the host's own link"}.get(self.driver, self.outward)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A container's place in a network; without addresses while it does not run."""

    network: str
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A port of the host, as ``127.0.0.1:8080``, that leads to one of a container, as ``80/tcp``."""

    host: str
    inside: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerBox:
    """One container; ``mode`` is ``host``, ``none``, or empty where it has ``places``; ``shares`` is whose network it is in instead."""

    name: str
    image: str
    state: str
    places: tuple[Place, ...] = ()
    ports: tuple[Published, ...] = ()
    mode: str = ""
    shares: str = ""

    @property
    def running(self) -> bool:
        """Whether it has processes."""
        return self.state in _LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """This machine's networks and containers as they were at one moment."""

    host: str
    networks: tuple[NetworkBox, ...]
    containers: tuple[ContainerBox, ...]

    def members(self, network: str) -> Iterator[tuple[ContainerBox, Place]]:
        """Yield the containers in a network with their places in it."""
        return ((box, place) for box in self.containers for place in box.places if place.network == network)

    def published(self) -> list[tuple[Published, ContainerBox]]:
        """Return the host's published ports with the containers that they lead to."""
        return [(port, box) for box in self.containers for port in box.ports]

    def sentence(self) -> str:
        """Return the figures: ``2 networks, 3 containers, 1 published port``."""
        words = [figures.count(len(self.networks), "network"), figures.count(len(self.containers), "container")]
        stopped = sum(not box.running for box in self.containers)
        words[-1] += f" ({stopped} not running)" if stopped else ""
        return ", ".join([*words, figures.count(len(self.published()), "published port")])

    def as_text(self) -> str:
        """Return the same as indented lines: the host with its ports, then each network with who is in it."""
        lines = [self.sentence(), f"host {one_line(self.host)}"]
        lines += [f"  {port.host} -> {one_line(box.name)} {port.inside}" for port, box in self.published()]
        lines += [f"  {one_line(box.name)}  in the host's own network" for box in self.containers if box.mode == HOST]
        for network in self.networks:
            ranges = [one.subnet + (f" gateway {one.gateway}" if one.gateway else "") for one in network.subnets]
            words = [f"network {one_line(network.name)}", *map(one_line, (network.driver, *ranges, network.way_out()))]
            lines.append("  ".join(words))
            lines += [_member(box, place) for box, place in self.members(network.name)]
        lines += [f"{one_line(box.name)}  in the network of {one_line(box.shares)}" for box in self.containers if box.shares]
        lines += [f"{one_line(box.name)}  without a network" for box in self.containers if box.mode == NONE]
        return "\n".join(lines)

    def to_json(self) -> dict[str, JSON]:
        """Return it as data."""
        return {
            "Host": self.host,
            "Networks": [
                {
                    "Name": network.name,
                    "Driver": network.driver,
                    "Internal": network.internal,
                    "Subnets": [{"Subnet": one.subnet, "Gateway": one.gateway} for one in network.subnets],
                }
                for network in self.networks
            ],
            "Containers": [
                {
                    "Name": box.name,
                    "Image": box.image,
                    "State": box.state,
                    "NetworkMode": box.mode,
                    "Shares": box.shares,
                    "Networks": [{"Name": p.network, "Addresses": list(p.addresses), "Aliases": list(p.aliases)} for p in box.places],
                    "Ports": [{"Host": port.host, "Container": port.inside} for port in box.ports],
                }
                for box in self.containers
            ],
        }


def _member(box: ContainerBox, place: Place) -> str:
    words = [f"  {one_line(box.name)}", *map(one_line, place.addresses or (box.state,))]
    return "  ".join([*words, *([f"also called {one_line(', '.join(place.aliases))}"] if place.aliases else [])])


def topology(engine: Engine, names: Sequence[str] = (), *, all: bool = False) -> Topology:
    """Return what runs (``all``: every container) and its networks; with ``names`` of networks only what is in those.

    Networks of the user's own are there also when they are empty. Raises NetworkNotFound for a name that is none.
    """
    boxes = [_container(engine, container) for container in engine.containers.list(all=all)]
    outward = engine.networks.outward()
    networks = {network.name: _network(network, outward) for network in engine.networks.list()}
    for name in names:
        if name not in networks:
            raise NetworkNotFound(f"no such network: {name}", hint="see nbc network ls")
    if names:
        boxes = [box for box in boxes if any(place.network in names for place in box.places) or box.mode in names]
    used = {place.network for box in boxes for place in box.places}
    wanted = {*names} if names else used | {name for name, box in networks.items() if box.driver not in ("host", "null")}
    shown = [box for name, box in networks.items() if name in wanted and (name in used or name in names or name != "bridge")]
    return Topology(
        host=platform.node() or "localhost",
        networks=tuple(box for box in shown if box.driver not in ("host", "null")),
        containers=tuple(boxes),
    )


def _network(network: Network, outward: str) -> NetworkBox:
    if network.driver in ("host", "null") or not network.id:
        return NetworkBox(name=network.name, driver=network.driver, outward=outward)
    ranges = _items(_table(network.attrs.get("IPAM")).get("Config"))
    subnets = tuple(Subnet(subnet=_text(one, "Subnet"), gateway=_text(one, "Gateway")) for one in map(_table, ranges))
    return NetworkBox(name=network.name, driver=network.driver, internal=network.internal, subnets=subnets, outward=outward)


def _container(engine: Engine, container: Container) -> ContainerBox:
    attrs = container.attrs
    settings, mode = _table(attrs["NetworkSettings"]), _text(_table(attrs["HostConfig"]), "NetworkMode")
    ports = tuple(
        Published(host=_socket(_text(_table(one), "HostIp"), _text(_table(one), "HostPort")), inside=inside)
        for inside, hosts in _table(settings.get("Ports")).items()
        for one in _items(hosts)
        if _text(_table(one), "HostPort")
    )
    box = ContainerBox(name=container.name, image=container.image, state=container.status, ports=ports)
    if mode.startswith("container:"):
        return replace(box, shares=_name_of(engine, mode.partition(":")[2]))
    if mode in (HOST, NONE):
        return replace(box, mode=mode)
    return replace(box, places=tuple(_place(name, _table(place)) for name, place in _table(settings.get("Networks")).items()))


def _place(name: str, place: Mapping[str, JSON]) -> Place:
    found = ((_text(place, "IPAddress"), place.get("IPPrefixLen")), (_text(place, "GlobalIPv6Address"), place.get("GlobalIPv6PrefixLen")))
    addresses = tuple(f"{address}/{length}" if length else address for address, length in found if address)
    return Place(network=name, addresses=addresses, aliases=tuple(str(alias) for alias in _items(place.get("Aliases"))))


def _socket(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _name_of(engine: Engine, identity: str) -> str:
    return next((box.name for box in engine.containers.list(all=True) if identity in (box.id, box.name)), identity[:12])


def _table(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, Mapping) else {}


def _items(value: JSON) -> Sequence[JSON]:
    return value if isinstance(value, list) else []


def _text(table: Mapping[str, JSON], key: str) -> str:
    value = table.get(key)
    return "" if value is None else str(value)

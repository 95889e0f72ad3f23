"""What is written on a bridge of ours: its alias names the network, so that every process (or the next one) can find and undo it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from notebook_containers.lean import dataclass
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import links
from notebook_containers.network.config import NetworkConfig

_ALIAS = re.compile(
    r"notebook-containers (?P<id>\S+) subnet=(?P<subnet>[0-9./]+) internal=(?P<internal>[01]) switched=(?P<switched>[01])"
    r"(?: subnet6=(?P<subnet6>[0-9a-f:./]+) switched6=(?P<switched6>[01]))?(?P<icc> icc=0)?(?P<nat> nat=0)?"
)

_PORT = re.compile(
    r"notebook-containers port(?: admits=(?P<admits>[0-9.]+))?"
    r"(?: guards=(?P<mac>[0-9a-f:]+),(?P<address>[0-9.]+),(?P<address6>[0-9a-f:]*))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnBridge:
    """A bridge of this package: ``switched`` says that IPv4 forwarding was off before it and the other bridges of ours came.

    ``switched6`` says the same of IPv6; the rest is as the network's configuration has it.
    """

    name: str
    network_id: str
    subnet: str
    internal: bool
    switched: bool
    subnet6: str = ""
    switched6: bool = False
    icc: bool = True
    masquerade: bool = True

    @classmethod
    def of(cls, link: links.Link) -> Self | None:
        """Return what the link's alias says, or None for a link that is not ours."""
        match = _ALIAS.fullmatch(link.alias)
        if match is None or link.kind != "bridge":
            return None
        internal, switched = match["internal"] == "1", match["switched"] == "1"
        return cls(
            name=link.name,
            network_id=match["id"],
            subnet=match["subnet"],
            internal=internal,
            switched=switched,
            subnet6=match["subnet6"] or "",
            switched6=match["switched6"] == "1",
            icc=not match["icc"],
            masquerade=not match["nat"],
        )


def alias(config: NetworkConfig, *, switched: bool, switched6: bool = False) -> str:
    """Return the alias of a network's bridge, 255 bytes at most as the kernel has it."""
    words = f"notebook-containers {config.id} subnet={config.subnet} internal={int(config.internal)} switched={int(switched)}"
    words += f" subnet6={config.subnet6} switched6={int(switched6)}" if config.subnet6 else ""
    return words + ("" if config.icc else " icc=0") + ("" if config.masquerade else " nat=0")


class Guarded(NamedTuple):
    """The link of a container that may forge packets, and all that it may call itself; ``address6`` is empty without IPv6."""

    name: str
    mac: str
    address: str
    address6: str = ""


def port_alias(*, admits: str = "", guards: Guarded | None = None) -> str:
    """Return the alias of a container's link: ``admits`` is the address from which it may reach the host's services, if it may."""
    words = "notebook-containers port" + (f" admits={admits}" if admits else "")
    return words + (f" guards={guards.mac},{guards.address},{guards.address6}" if guards else "")


def admitted(everything: Iterable[links.Link]) -> list[str]:
    """Return the addresses of containers that may reach the host's services."""
    return sorted({match["admits"] for _, match in _ports(everything) if match["admits"]})


def guarded(everything: Iterable[links.Link]) -> list[Guarded]:
    """Return the links of containers that may forge packets."""
    return sorted(
        Guarded(link.name, match["mac"], match["address"], match["address6"]) for link, match in _ports(everything) if match["mac"]
    )


def _ports(everything: Iterable[links.Link]) -> Iterator[tuple[links.Link, re.Match[str]]]:
    for link in everything:
        if link.kind == "veth" and link.alias and (match := _PORT.fullmatch(link.alias)):
            yield link, match


def own_bridges(kernel: NetlinkSocket) -> list[OwnBridge]:
    """Return all bridges of this package in the socket's namespace, by name."""
    found = (OwnBridge.of(link) for link in links.all_links(kernel))
    return sorted((bridge for bridge in found if bridge is not None), key=lambda bridge: bridge.name)

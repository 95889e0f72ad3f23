"""What is written on a bridge of ours: its alias names the network, so that every process (or the next one) can find and undo it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Self

from notebook_containers.lean import dataclass
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import links
from notebook_containers.network.config import NetworkConfig

_ALIAS = re.compile(
    r"notebook-containers (?P<id>\S+) subnet=(?P<subnet>[0-9./]+) internal=(?P<internal>[01]) switched=(?P<switched>[01])"
    r"(?: subnet6=(?P<subnet6>[0-9a-f:./]+) switched6=(?P<switched6>[01]))?(?P<icc> icc=0)?(?P<nat> nat=0)?"
)

_ADMITS = "notebook-containers admits "


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


def admission(address: str) -> str:
    """Return the alias of a container's link that lets the container reach the host's services from its address."""
    return f"{_ADMITS}{address}"


def admitted(everything: Iterable[links.Link]) -> list[str]:
    """Return the addresses of containers that may reach the host's services."""
    return sorted({link.alias.removeprefix(_ADMITS) for link in everything if link.kind == "veth" and link.alias.startswith(_ADMITS)})


def own_bridges(kernel: NetlinkSocket) -> list[OwnBridge]:
    """Return all bridges of this package in the socket's namespace, by name."""
    found = (OwnBridge.of(link) for link in links.all_links(kernel))
    return sorted((bridge for bridge in found if bridge is not None), key=lambda bridge: bridge.name)

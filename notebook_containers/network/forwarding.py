"""Whether the host forwards packets: switched on for the first network that needs it, and back with the last."""

from __future__ import annotations

import os
from contextlib import suppress

from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import links
from notebook_containers.network.config import NetworkConfig
from notebook_containers.network.owned import OwnBridge, own_bridges

_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_CONF6 = "/proc/sys/net/ipv6/conf"
_FORWARD6 = f"{_CONF6}/all/forwarding"
# Another program that routes makes links of these kinds: while one is there, forwarding may be its need too.
_ROUTING_KINDS = frozenset({"bridge", "veth", "tun", "wireguard", "macvlan", "ipvlan"})


def switches(kernel: NetlinkSocket, config: NetworkConfig) -> bool:
    """Tell whether a new network is among those for whose sake IPv4 forwarding is on."""
    if config.internal:
        return False
    return _read(_FORWARD) == "0" or any(bridge.switched for bridge in own_bridges(kernel))


def switches6(kernel: NetlinkSocket, config: NetworkConfig) -> bool:
    """Tell the same of IPv6."""
    if config.internal or not config.subnet6:
        return False
    return _read(_FORWARD6) == "0" or any(bridge.switched6 for bridge in own_bridges(kernel))


def switch_on(config: NetworkConfig) -> None:
    """Let the host forward what the network needs; the firewall must be up by then."""
    if _read(_FORWARD) == "0":
        write(_FORWARD, "1")
    if config.subnet6 and _read(_FORWARD6) == "0":
        for name in os.listdir(_CONF6):
            # A host that forwards ignores the router that its own address comes from, unless it is told to listen all the same.
            with suppress(OSError):
                if name != "all" and _read(f"{_CONF6}/{name}/accept_ra") == "1":
                    write(f"{_CONF6}/{name}/accept_ra", "2")
        write(_FORWARD6, "1")


def switch_back(kernel: NetlinkSocket, gone: OwnBridge | None) -> None:
    """Switch off again what was switched on for networks of which the last is gone, unless others may need it."""
    if gone is None or not (gone.switched or gone.switched6):
        return
    left = [bridge for bridge in own_bridges(kernel) if not bridge.internal]
    if _others_route(kernel):
        return
    if gone.switched and not left:
        write(_FORWARD, "0")
    if gone.switched6 and not any(bridge.subnet6 for bridge in left):
        write(_FORWARD6, "0")


def _others_route(kernel: NetlinkSocket) -> bool:
    """Return whether anybody else may need forwarding: a link such as another container engine makes."""
    everything = links.all_links(kernel)
    own = {link.index for link in everything if OwnBridge.of(link)}
    uplinks = {route.link for route in links.all_routes(kernel) if route.destination == "0.0.0.0/0"}
    return any(link.kind in _ROUTING_KINDS and link.index not in uplinks | own and link.master not in own for link in everything)


def write(path: str, value: str) -> None:
    """Write a setting of the kernel; nothing happens where there is none: a kernel without IPv6."""
    with suppress(FileNotFoundError), open(path, "w", encoding="ascii") as file:
        file.write(value)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""

"""What is set inside a container's network namespace, by a thread of ours that has joined it.

/proc/sys/net shows the namespace of the thread that opens it.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence

from notebook_containers.errors import NetworkError
from notebook_containers.linux.netlink import NetlinkSocket, Request
from notebook_containers.network import links
from notebook_containers.network.config import NetworkConfig
from notebook_containers.network.forwarding import write

_LINK_LOCAL = {4: "169.254.0.0/16", 6: "fe80::/64"}
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}
_METADATA = ("169.254.169.254", "168.63.129.16")
_SETTLE_TIMEOUT_S = 2.0


def configure(config: NetworkConfig, interface: str, address: str, address6: str, link_local: Sequence[str], *, way_out: bool) -> None:
    """Give an interface its addresses, bring it up, and make its gateways the default routes when it is the way out."""
    settings = f"/proc/sys/net/ipv6/conf/{interface}"
    if address6:
        for name in ("accept_ra", "accept_dad", "disable_ipv6"):  # no advertised router, no second of waiting for a double of an address
            write(f"{settings}/{name}", "0")
    else:
        write(f"{settings}/disable_ipv6", "1")
    with NetlinkSocket() as kernel:
        link = links.find_link(kernel, interface)
        if link is None:
            raise NetworkError(f"interface {interface} vanished from the container")
        kernel.execute([*_addresses(config, link.index, address, address6, link_local), links.set_link(link.index)])
        settle(kernel, interface)
        if config.driver != "bridge":  # on a bridge the firewall of this machine closes them
            kernel.execute([links.close_address(metadata) for metadata in _METADATA])
        if way_out and not config.internal:
            _lead_out(kernel, link.index, [gateway for gateway in (config.gateway, config.gateway6 if address6 else "") if gateway])


def _addresses(config: NetworkConfig, index: int, address: str, address6: str, link_local: Sequence[str]) -> list[Request]:
    requests = [links.add_address(index, address, config.subnet)]
    requests += [links.add_address(index, address6, config.subnet6)] if address6 else []
    for text in link_local:
        version = ipaddress.ip_address(text).version
        if version == 4 or address6:
            requests.append(links.add_address(index, text, _LINK_LOCAL[version]))
    return requests


def set_way_out(interface: str, gateways: Sequence[str]) -> None:
    """Make the gateways behind an interface the only default routes; without one there is none."""
    with NetlinkSocket() as kernel:
        link = links.find_link(kernel, interface) if interface else None
        for version, destination in _DEFAULT.items():
            for route in links.all_routes(kernel, version=version):
                if route.destination == destination and (link is None or route.link != link.index):
                    kernel.execute([links.delete_default_route(route.link, version=version)])
        if link is not None:
            _lead_out(kernel, link.index, gateways)


def _lead_out(kernel: NetlinkSocket, index: int, gateways: Sequence[str]) -> None:
    """Make gateways the default routes; without one the link itself is."""
    requests = [links.set_default_route(index, gateway) for gateway in gateways]
    kernel.execute(requests or [links.set_link_as_default_route(index)])


def settle(kernel: NetlinkSocket, name: str) -> None:
    """Wait until a link that was brought up carries packets: the kernel sees to it in a worker, half a millisecond later as a rule.

    Without it a container's first packet can be lost, and the next attempt comes a second later.
    """
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    while (link := links.find_link(kernel, name)) and not link.ready and time.monotonic() < deadline:
        time.sleep(0.0002)

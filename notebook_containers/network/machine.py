"""What this machine has for routes: a network of ours must not take what is somebody else's."""

from __future__ import annotations

import ipaddress
import sys

from notebook_containers.errors import NetworkError
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network.links import destinations


def taken(subnet: str) -> bool:
    """Say whether a route of this machine (the default aside) overlaps the subnet; reads one file, cheap enough for each run."""
    wanted = ipaddress.IPv4Network(subnet)
    try:
        with open("/proc/thread-self/net/route", encoding="ascii") as file:
            lines = file.read().splitlines()[1:]
    except OSError:
        return False
    for line in lines:
        _link, destination, *_between, mask = line.split()[:8]
        route = ipaddress.IPv4Network((_address(destination), str(_address(mask))))
        if route.prefixlen and route.overlaps(wanted):
            return True
    return False


def _address(word: str) -> ipaddress.IPv4Address:
    """Return an address as the kernel writes it there: hexadecimal, in the machine's byte order."""
    return ipaddress.IPv4Address(int(word, 16).to_bytes(4, sys.byteorder))


def host_routes() -> list[str]:
    """Return the destinations of the host's IPv4 routes but the default, as "10.0.0.0/8": what a new subnet must not overlap.

    Its own addresses and what it was told not to reach are among them. Raises NetworkError.
    """
    try:
        with NetlinkSocket() as kernel:
            found = set(destinations(kernel))
    except OSError as err:
        raise NetworkError(f"the machine's routes cannot be read: {err}") from err
    return sorted(one for one in found if not one.endswith("/0"))

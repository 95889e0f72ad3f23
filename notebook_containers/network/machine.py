"""What this machine has for routes, asked through pyroute2 when a network is made (rarely).

pyroute2's calls run an event loop of their own, which fails inside the one that a notebook cell runs in, and importing it takes longer
than a whole container: so it is asked in a thread, and what happens once per container speaks netlink directly (:mod:`..linux.netlink`).
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading

from notebook_containers.errors import NetworkError


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
    """Return the destinations of the host's IPv4 routes but the default, as "10.0.0.0/8": what a new subnet must not overlap."""
    found: set[str] = set()
    failures: list[Exception] = []

    def ask() -> None:
        from pyroute2 import IPRoute

        try:
            with IPRoute() as routes:
                for route in routes.get_routes(family=socket.AF_INET):
                    if route["dst_len"]:
                        found.add(f"{route.get_attr('RTA_DST')}/{route['dst_len']}")
        except Exception as err:
            failures.append(err)

    thread = threading.Thread(target=ask, name="nbc-routes")
    thread.start()
    thread.join()
    if failures:
        raise NetworkError(f"the machine's routes cannot be read: {failures[0]}") from failures[0]
    return sorted(found)

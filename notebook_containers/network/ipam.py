"""Which subnet, which address, which MAC: pure functions of what is taken."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Set
from itertools import chain

from notebook_containers.errors import Conflict, InvalidArgument, NetworkError

# Ranges that neither Docker (172.17-172.31, 192.168 from the low end) nor Podman (10.88, 10.89 up) hands out first.
_POOLS = ("10.133.0.0/16", "172.29.128.0/17", "192.168.192.0/18")
_PREFIX_LENGTH = 24
_LINK_BYTES = 15


def parse_subnet(text: str) -> ipaddress.IPv4Network:
    """Return the IPv4 subnet written as "10.1.2.0/24"; raises InvalidArgument for host bits, no room for two hosts, or IPv6."""
    try:
        subnet = ipaddress.ip_network(text)
    except ValueError as err:
        raise InvalidArgument(f"{text!r} is no subnet: {err}", hint='write it as "10.1.2.0/24"') from err
    if not isinstance(subnet, ipaddress.IPv4Network):
        raise InvalidArgument(f"{text!r} is an IPv6 subnet", hint="give one of IPv4; one of IPv6 may stand beside it, with --ipv6")
    special = subnet.is_loopback or subnet.is_multicast or subnet.is_link_local or subnet.is_reserved
    if special or not 8 <= subnet.prefixlen <= 30:
        raise InvalidArgument(f"{text!r} cannot hold containers", hint="give a private subnet with a length from /8 to /30")
    return subnet


def choose_subnet(used: Iterable[str], routes: Iterable[str]) -> str:
    """Return the first free /24: it overlaps no subnet in ``used`` and no route of the host (default routes do not count).

    Deterministic. Text that is no IPv4 network is passed over. Raises NetworkError when every pool is taken.
    """
    taken = {n for n in _networks(chain(used, routes)) if n.prefixlen > 0}
    for pool in _POOLS:
        for candidate in ipaddress.IPv4Network(pool).subnets(new_prefix=_PREFIX_LENGTH):
            if candidate not in taken and not any(candidate.overlaps(other) for other in taken):
                return str(candidate)
    raise NetworkError("no free subnet is left for a network", hint="remove unused networks, or name one with --subnet")


def check_subnet(subnet: str, used: Iterable[str], routes: Iterable[str]) -> None:
    """Raise InvalidArgument for a bad subnet and Conflict when it overlaps another network or a route of the host."""
    wanted = parse_subnet(subnet)
    for other in _networks(chain(used, routes)):
        if other.prefixlen > 0 and wanted.overlaps(other):
            raise Conflict(f"subnet {subnet} overlaps {other}, which is in use", hint="choose another --subnet, or leave it out")


def gateway_of(subnet: str) -> str:
    """Return the subnet's first host address, the bridge's own."""
    return str(parse_subnet(subnet).network_address + 1)


def choose_address(subnet: str, taken: Set[str], *, ip_range: str = "") -> str:
    """Return the lowest address of the subnet, or of a part of it, that is neither network, broadcast nor in ``taken``.

    NetworkError when all are taken.
    """
    network = parse_subnet(subnet)
    edges = (network.network_address, network.broadcast_address)
    for host in ipaddress.IPv4Network(ip_range) if ip_range else network.hosts():
        if host not in edges and str(host) not in taken:
            return str(host)
    where = f"range {ip_range} of network {subnet}" if ip_range else f"network {subnet}"
    raise NetworkError(f"{where} has no free address", hint="remove containers from it, or make a larger network")


def parse_subnet6(text: str) -> ipaddress.IPv6Network:
    """Return the IPv6 subnet written as "fd00:1::/64"; raises InvalidArgument for host bits, IPv4, or no room for containers."""
    try:
        subnet = ipaddress.ip_network(text)
    except ValueError as err:
        raise InvalidArgument(f"{text!r} is no subnet: {err}", hint='write it as "fd00:1::/64"') from err
    if not isinstance(subnet, ipaddress.IPv6Network):
        raise InvalidArgument(f"{text!r} is an IPv4 subnet", hint="give one of IPv6")
    if subnet.is_loopback or subnet.is_multicast or subnet.is_link_local or subnet.prefixlen > 96 or subnet.prefixlen < 16:
        raise InvalidArgument(f"{text!r} cannot hold containers", hint="give a subnet with a length from /16 to /96, as fd00:1::/64")
    return subnet


def choose_subnet6(network_id: str) -> str:
    """Return a private /64 made of a network's id (hex): 40 random bits, which nobody else has (RFC 4193)."""
    return str(ipaddress.IPv6Network((bytes.fromhex(f"fd{network_id[:10]}").ljust(16, b"\0"), 64)))


def check_subnet6(subnet: str, used: Iterable[str]) -> None:
    """Raise Conflict when an IPv6 subnet overlaps another network's."""
    wanted = parse_subnet6(subnet)
    for other in used:
        if wanted.overlaps(ipaddress.IPv6Network(other)):
            raise Conflict(f"subnet {subnet} overlaps {other}, which is in use", hint="choose another --subnet, or leave it out")


def choose_address6(subnet: str, subnet6: str, taken: Set[str], *, beside: str) -> str:
    """Return the free address of the IPv6 subnet with the number that ``beside`` has in the IPv4 one; if it is taken, one far from it."""
    number = int(ipaddress.IPv4Address(beside)) - int(parse_subnet(subnet).network_address)
    network = parse_subnet6(subnet6)
    while True:
        address = str(network.network_address + number)
        if address not in taken:
            return address
        number += 1 << 24  # past every number that an IPv4 subnet has


def check_address(subnet: str, taken: Set[str], address: str) -> str:
    """Return a wanted address in its normal form; InvalidArgument when it cannot be a host of the subnet, Conflict when it is taken."""
    network = parse_subnet6(subnet) if ":" in subnet else parse_subnet(subnet)
    try:
        wanted = ipaddress.IPv6Address(address) if network.version == 6 else ipaddress.IPv4Address(address)
    except ValueError as err:
        raise InvalidArgument(f"{address!r} is no IPv{network.version} address") from err
    if wanted not in network or wanted in (network.network_address, network.broadcast_address):
        raise InvalidArgument(f"address {address} is no host of {subnet}")
    if str(wanted) in taken:
        raise Conflict(f"address {address} is taken in {subnet}", hint="leave the address out to get a free one")
    return str(wanted)


def mac_for(address: str) -> str:
    """Return the locally administered unicast MAC of an IPv4 address: the same address, the same MAC; unique inside one network."""
    return "02:6e:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)


def link_name(network_id: str) -> str:
    """Return the bridge's name for a network id (hex): "nbc-" and eleven characters, 15 bytes in all."""
    return f"nbc-{network_id}"[:_LINK_BYTES]


def _networks(texts: Iterable[str]) -> Iterator[ipaddress.IPv4Network]:
    for text in texts:
        try:
            yield ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            continue

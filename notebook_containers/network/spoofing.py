"""Walls for containers that may forge packets (NET_RAW, NET_ADMIN): on their way into the bridge only what is really theirs passes.

A container with its own rights alone cannot forge, and costs no rule. For one that can, each frame must carry its own MAC address, and be
ARP or IP from its own addresses; it is no router and no DHCP server; tags of a VLAN and everything else are dropped
(``nft list table bridge notebook_containers`` shows it). What is meant for others is not flooded to it either.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence

from notebook_containers.linux.netlink import Request
from notebook_containers.network import nftables as nft
from notebook_containers.network.owned import Guarded

TABLE = "notebook_containers"
_PRIORITY = -300
_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_DHCP_SERVER = 67
_ADVERTISES, _ADVERTISED, _REDIRECTS = 134, 136, 137


def chain_name(guarded: Sequence[Guarded]) -> str:
    """Return the name of the chain that holds these walls: another set of them has another name."""
    return "walls-" + hashlib.sha256(repr(sorted(guarded)).encode()).hexdigest()[:16]


def table(guarded: Sequence[Guarded]) -> list[Request]:
    """Return what makes the table, nothing for nobody."""
    if not guarded:
        return []
    name = chain_name(guarded)
    chain = nft.add_chain(TABLE, name, kind="filter", hook=nft.PREROUTING, priority=_PRIORITY, family=nft.BRIDGE)
    rules = [nft.add_rule(TABLE, name, *rule, family=nft.BRIDGE) for one in sorted(guarded) for rule in _rules(one)]
    return [nft.add_table(TABLE, "made by notebook_containers", family=nft.BRIDGE), chain, *rules]


def _rules(one: Guarded) -> Iterator[tuple[bytes, ...]]:
    here, mac = nft.came_from_link(one.name), bytes.fromhex(one.mac.replace(":", ""))
    accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
    yield here, nft.link_field(6, mac, inverted=True), drop
    yield here, nft.protocol_of_frame(_ARP), nft.network_field(8, mac), nft.network_field(14, socket.inet_aton(one.address)), accept
    four = (here, nft.protocol_of_frame(_IPV4))
    yield *four, nft.protocol_is(nft.UDP), nft.transport_field(0, struct.pack(">H", _DHCP_SERVER)), drop
    yield *four, nft.network_field(12, socket.inet_aton(one.address)), accept
    if one.address6:
        yield from _rules6((here, nft.protocol_of_frame(_IPV6)), one)
    yield here, drop


def _rules6(six: tuple[bytes, ...], one: Guarded) -> Iterator[tuple[bytes, ...]]:
    accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
    own = [ipaddress.IPv6Address(text).packed for text in (one.address6, _link_local(one.mac))]
    message = (*six, nft.protocol_is(nft.ICMPV6))
    for kind in (_ADVERTISES, _REDIRECTS):
        yield *message, nft.transport_field(0, bytes([kind])), drop
    for address in own:  # who it says it is, is at most what it is
        yield *message, nft.transport_field(0, bytes([_ADVERTISED])), nft.transport_field(8, address), accept
    yield *message, nft.transport_field(0, bytes([_ADVERTISED])), drop
    for address in own:
        yield *six, nft.network_field(8, address), accept
    yield *message, nft.network_field(8, bytes(16)), accept  # it asks whether an address is free, or who is a router


def _link_local(mac: str) -> str:
    """Return the address that the kernel makes of a MAC address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    inner = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + inner))

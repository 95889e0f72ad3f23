"""Links, addresses and routes as rtnetlink messages: each verb one :class:`Request`, each question a list of plain values."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator

from notebook_containers.lean import dataclass
from notebook_containers.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NetlinkSocket,
    Request,
    attribute,
    attributes,
    nested,
    text,
)

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 17, 18, 19
_RTM_NEWADDR, _RTM_GETADDR, _RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 20, 22, 24, 25, 26
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_OPERSTATE, _IFLA_LINKINFO = 1, 3, 4, 10, 16, 18
_IFLA_IFALIAS, _IFLA_NET_NS_FD, _IFLA_EXT_MASK = 20, 28, 29
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFLA_BR_FORWARD_DELAY, _IFLA_BR_STP_STATE, _IFLA_BR_MCAST_SNOOPING = 1, 5, 23
_RTEXT_FILTER_SKIP_STATS = 8
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RT_TABLE_MAIN, _RTPROT_STATIC, _RTN_UNICAST = 254, 4, 1
_IFF_UP, _IF_OPER_UP = 1, 6

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_IFA_F_NODAD = 2
_IFLA_LINK, _DIRECT_MODE, _RTN_UNREACHABLE = 5, 1, 7
_MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODES = ("l2", "l3", "l3s")
_AF_BRIDGE = 7
_IFLA_PROTINFO, _IFLA_BRPORT_UNICAST_FLOOD, _IFLA_BRPORT_ISOLATED = 12, 9, 33
_RT_SCOPE_LINK = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as the kernel has it; ``kind`` is "" for hardware, ``alias`` the text somebody gave it, ``master`` an index or 0.

    ``up`` is what was asked for; ``ready`` that the kernel has acted on it: its queue takes packets, its bridge port forwards.
    """

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    alias: str
    master: int
    up: bool
    ready: bool


def find_link(kernel: NetlinkSocket, name: str) -> Link | None:
    """Return the link of that name in the socket's namespace, or None."""
    try:
        answers = kernel.get(Request(_RTM_GETLINK, 0, _ifinfo() + attribute(_IFLA_IFNAME, name), what=f"look up link {name}"))
    except OSError as err:
        if err.errno == errno.ENODEV:
            return None
        raise
    return _link(answers[0])


def all_links(kernel: NetlinkSocket) -> list[Link]:
    """Return every link of the socket's namespace."""
    mask = attribute(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    return [_link(body) for body in kernel.get(Request(_RTM_GETLINK, NLM_F_DUMP, _ifinfo() + mask, what="list links"))]


def _link(body: bytes) -> Link:
    _family, _kind, index, flags, _change = _IFINFO.unpack_from(body)
    found = dict(attributes(body[_IFINFO.size :]))
    info = dict(attributes(found.get(_IFLA_LINKINFO, b"")))
    return Link(
        index=index,
        name=text(found.get(_IFLA_IFNAME, b"")),
        kind=text(info.get(_IFLA_INFO_KIND, b"")),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(found.get(_IFLA_MTU, b"")),
        alias=text(found.get(_IFLA_IFALIAS, b"")),
        master=_number(found.get(_IFLA_MASTER, b"")),
        up=bool(flags & _IFF_UP),
        ready=found.get(_IFLA_OPERSTATE) == bytes([_IF_OPER_UP]),
    )


def add_bridge(name: str, *, mac: str, mtu: int) -> Request:
    """Make a bridge without spanning tree: a port forwards at once, not after the 15 s of listening and learning."""
    settings = (
        attribute(_IFLA_BR_FORWARD_DELAY, 0),
        attribute(_IFLA_BR_STP_STATE, 0),
        attribute(_IFLA_BR_MCAST_SNOOPING, b"\0"),
    )
    info = nested(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, "bridge"), nested(_IFLA_INFO_DATA, *settings))
    body = attribute(_IFLA_IFNAME, name) + attribute(_IFLA_ADDRESS, _mac(mac)) + attribute(_IFLA_MTU, mtu) + info
    return Request(_RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _ifinfo() + body, what=f"make bridge {name}")


def add_veth(name: str, *, bridge: Link, peer: str, peer_mac: str, peer_namespace: int) -> Request:
    """Make a pair: ``name`` here, up and a port of the bridge; ``peer`` straight inside the namespace behind the descriptor, down."""
    peer_body = (
        attribute(_IFLA_IFNAME, peer)
        + attribute(_IFLA_ADDRESS, _mac(peer_mac))
        + attribute(_IFLA_MTU, bridge.mtu)
        + attribute(_IFLA_NET_NS_FD, peer_namespace)
    )
    data = nested(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, _ifinfo() + peer_body))
    info = nested(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, "veth"), data)
    body = attribute(_IFLA_IFNAME, name) + attribute(_IFLA_MTU, bridge.mtu) + attribute(_IFLA_MASTER, bridge.index) + info
    return Request(_RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _ifinfo(up=True) + body, what=f"make link {name}")


def add_direct(kind: str, mode: str, *, parent: int, name: str, mac: str, namespace: int) -> Request:
    """Make a macvlan or ipvlan link on ``parent``, straight inside the namespace, down; an ipvlan link has its parent's MAC."""
    number = _MACVLAN_MODES[mode] if kind == "macvlan" else struct.pack("=H", _IPVLAN_MODES.index(mode))
    info = nested(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, kind), nested(_IFLA_INFO_DATA, attribute(_DIRECT_MODE, number)))
    body = attribute(_IFLA_IFNAME, name) + attribute(_IFLA_LINK, parent) + attribute(_IFLA_NET_NS_FD, namespace) + info
    body += attribute(_IFLA_ADDRESS, _mac(mac)) if kind == "macvlan" else b""
    return Request(_RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _ifinfo() + body, what=f"make {kind} link {name}")


def close_address(address: str) -> Request:
    """Say that an IPv4 address cannot be reached, whatever the other routes are."""
    header = _RTMSG.pack(socket.AF_INET, 32, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, 0, _RTN_UNREACHABLE, 0)
    return Request(
        _RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, header + attribute(_RTA_DST, socket.inet_aton(address)), what=f"close {address}"
    )


def set_link(index: int, *, alias: str = "", up: bool = True) -> Request:
    """Bring a link up, or down, and give it an alias when one is named."""
    body = attribute(_IFLA_IFALIAS, alias.encode()) if alias else b""
    flags = _IFINFO.pack(socket.AF_UNSPEC, 0, index, _IFF_UP if up else 0, _IFF_UP)
    return Request(_RTM_SETLINK, 0, flags + body, what=f"bring a link {'up' if up else 'down'}")


def delete_link(index: int, name: str) -> Request:
    """Delete a link; the other end of a pair goes with it."""
    return Request(_RTM_DELLINK, 0, _ifinfo(index), what=f"delete link {name}")


def add_address(index: int, address: str, subnet: str) -> Request:
    """Give a link an address with the subnet's prefix length; again with the same address changes nothing.

    An IPv6 one is used at once: who handed it out knows that nobody else has it.
    """
    network = ipaddress.ip_network(subnet)
    packed = ipaddress.ip_address(address).packed
    body = attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if network.version == 4 and network.prefixlen < 31:
        body += attribute(_IFA_BROADCAST, network.broadcast_address.packed)
    family, flags = (socket.AF_INET, 0) if network.version == 4 else (socket.AF_INET6, _IFA_F_NODAD)
    header = _IFADDR.pack(family, network.prefixlen, flags, 0, index)
    return Request(_RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, header + body, what=f"add address {address}")


def set_default_route(index: int, gateway: str) -> Request:
    """Send everything that has no better route to the gateway, in place of another one."""
    way = ipaddress.ip_address(gateway)
    body = attribute(_RTA_GATEWAY, way.packed) + attribute(_RTA_OIF, index)
    return Request(_RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _default_route(way.version) + body, what=f"add the route to {gateway}")


def set_link_as_default_route(index: int) -> Request:
    """Send everything that has no better route straight out through a link."""
    route = _RTMSG.pack(socket.AF_INET, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_LINK, _RTN_UNICAST, 0)
    return Request(_RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route + attribute(_RTA_OIF, index), what="add a route through a link")


def delete_default_route(index: int, *, version: int = 4) -> Request:
    """Forget the default route through a link."""
    return Request(_RTM_DELROUTE, 0, _default_route(version) + attribute(_RTA_OIF, index), what="delete a default route")


def set_port(index: int, *, isolated: bool, floods: bool) -> Request:
    """Say of a port of a bridge whether it is ``isolated`` (it reaches no other such port), and gets what nobody knows the port of."""
    header = _IFINFO.pack(_AF_BRIDGE, 0, index, 0, 0)
    settings = (attribute(_IFLA_BRPORT_ISOLATED, bytes([isolated])), attribute(_IFLA_BRPORT_UNICAST_FLOOD, bytes([floods])))
    return Request(_RTM_SETLINK, 0, header + nested(_IFLA_PROTINFO, *settings), what="set a port of a bridge")


def _default_route(version: int) -> bytes:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return _RTMSG.pack(family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, 0, _RTN_UNICAST, 0)


def addresses_of(kernel: NetlinkSocket, index: int) -> list[str]:
    """Return the link's IPv4 addresses as "10.1.2.3/24"."""
    request = Request(_RTM_GETADDR, NLM_F_DUMP, _IFADDR.pack(socket.AF_INET, 0, 0, 0, 0), what="list addresses")
    result = []
    for body in kernel.get(request):
        _family, length, _flags, _scope, owner = _IFADDR.unpack_from(body)
        local = dict(attributes(body[_IFADDR.size :])).get(_IFA_LOCAL)
        if owner == index and local is not None:
            result.append(f"{ipaddress.IPv4Address(local)}/{length}")
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One unicast route of the host: ``destination`` as "10.0.0.0/8" ("0.0.0.0/0" or "::/0" for the default), ``link`` an index or 0."""

    destination: str
    link: int


def all_routes(kernel: NetlinkSocket, *, version: int = 4) -> list[Route]:
    """Return the unicast routes of every table (a VPN may keep its own), of IPv4 or of IPv6."""
    return [route for kind, route in _routes(kernel, version) if kind == _RTN_UNICAST]


def destinations(kernel: NetlinkSocket) -> list[str]:
    """Return where the IPv4 routes of every table and of every kind lead, the machine's own addresses and what it closes among them."""
    return [route.destination for _kind, route in _routes(kernel, 4)]


def _routes(kernel: NetlinkSocket, version: int) -> Iterator[tuple[int, Route]]:
    family, nothing = (socket.AF_INET, b"\0" * 4) if version == 4 else (socket.AF_INET6, b"\0" * 16)
    request = Request(_RTM_GETROUTE, NLM_F_DUMP, _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), what="list routes")
    for body in kernel.get(request):
        _family, length, _src, _tos, _table, _protocol, _scope, kind, _flags = _RTMSG.unpack_from(body)
        found = dict(attributes(body[_RTMSG.size :]))
        destination = ipaddress.ip_address(found.get(_RTA_DST, nothing))
        yield kind, Route(destination=f"{destination}/{length}", link=_number(found.get(_RTA_OIF, b"")))


def _ifinfo(index: int = 0, *, up: bool = False) -> bytes:
    return _IFINFO.pack(socket.AF_UNSPEC, 0, index, _IFF_UP if up else 0, _IFF_UP if up else 0)


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _number(value: bytes) -> int:
    return int.from_bytes(value[:4], "little" if struct.pack("=H", 1)[0] else "big") if value else 0

"""nftables as netlink messages: tables, sets, chains, rules, and the few expressions our firewall is written in.

An expression is bytes; a rule is a sequence of them, read from left to right until one does not match. Numbers are big-endian here, unlike
in rtnetlink. Source: linux/netfilter/nf_tables.h; ``nft --debug=netlink`` shows the same expressions for any rule.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Sequence

from notebook_containers.lean import dataclass
from notebook_containers.linux.netlink import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NetlinkSocket,
    Request,
    attribute,
    attributes,
    nested,
    text,
)

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = 0, 1, 2, 3, 4
ACCEPT, DROP = 1, 0
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
IFNAME, IPV4, IPV6 = 41, 7, 8
IFNAME_PAIR = IFNAME << 6 | IFNAME
_KEY_BYTES = {IFNAME: 16, IPV4: 4, IPV6: 16, IFNAME_PAIR: 32}

_SUBSYSTEM = 10
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE = 0, 1, 2, 3, 4, 6
_NEWSET, _NEWSETELEM, _GETGEN = 9, 12, 16
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_INET, _IPV4, _IPV6, _UNSPEC = 1, 2, 10, 0
BRIDGE = 7
_FAMILIES = {1: "inet", 2: "ip", 7: "bridge", 10: "ip6"}
_NFGENMSG = struct.Struct("=BB2s")
_SET_INTERVAL, _ELEMENT_END, _TABLE_OWNER = 4, 1, 2
_JUMP = (-3) & 0xFFFFFFFF
_LOCAL_ADDRESS, _TRANSLATED = 2, 1 << 5
_REG_1, _REG_2 = 1, 2
_META_IIFNAME, _META_OIFNAME, _META_NFPROTO, _META_L4PROTO = 6, 7, 15, 16
_LINK_HEADER, _NETWORK_HEADER, _TRANSPORT_HEADER = 0, 1, 2
_META_PROTOCOL = 1
# For the nft program alone, which else prints names of a set from their wrong end (libnftnl, NFTNL_UDATA_SET_KEYBYTEORDER).
_NAMES_ARE_HOST_ORDER = struct.pack("=BBI", 0, 4, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A base chain as the kernel has it: ``hook`` a number such as FORWARD, ``policy`` ACCEPT or DROP, ``rules`` how many."""

    family: str
    table: str
    name: str
    hook: int
    policy: int
    rules: int


def add_table(table: str, comment: str, *, owned: bool = False, family: int = _INET) -> Request:
    """Make the table (again is no error); the comment is shown by ``nft list``.

    An ``owned`` one is the socket's that makes it: it goes when that is closed, and nobody else can change or flush it (Linux 5.12).
    """
    words = comment.encode() + b"\0"
    body = attribute(1, table) + attribute(6, struct.pack("BB", 0, len(words)) + words)
    body += attribute(2, _be(_TABLE_OWNER)) if owned else b""
    return _request(_NEWTABLE, NLM_F_CREATE, body, f"table {table}", family=family)


def delete_table(table: str, *, family: int = _INET) -> Request:
    """Delete the table with everything in it."""
    return _request(_DELTABLE, 0, attribute(1, table), f"delete table {table}", family=family)


def add_chain(table: str, chain: str, *, kind: str, hook: int, priority: int, family: int = _INET) -> Request:
    """Make a base chain whose policy is to accept; ``kind`` is "filter" or "nat"."""
    place = nested(4, attribute(1, _be(hook)), attribute(2, struct.pack(">i", priority)))
    body = attribute(1, table) + attribute(3, chain) + place + attribute(5, _be(ACCEPT)) + attribute(7, kind)
    return _request(_NEWCHAIN, NLM_F_CREATE, body, f"chain {chain}", family=family)


def add_plain_chain(table: str, chain: str) -> Request:
    """Make a chain that others jump to."""
    return _request(_NEWCHAIN, NLM_F_CREATE, attribute(1, table) + attribute(3, chain), f"chain {chain}")


def add_set(table: str, name: str, key: int, number: int, *, interval: bool = False) -> Request:
    """Make a named set of interface names, pairs of them, or IPv4 ranges; ``number`` tells the sets of one transaction apart."""
    flags = _SET_INTERVAL if interval else 0
    fields = ((3, flags), (4, key), (5, _KEY_BYTES[key]), (10, number))
    body = attribute(1, table) + attribute(2, name) + b"".join(attribute(kind, _be(value)) for kind, value in fields)
    if key == IFNAME:
        body += attribute(13, _NAMES_ARE_HOST_ORDER)
    return _request(_NEWSET, NLM_F_CREATE, body, f"set {name}")


def add_elements(table: str, name: str, keys: Iterable[bytes]) -> Request:
    """Put keys into a set of names."""
    elements = [nested(1, nested(1, attribute(1, key))) for key in keys]
    return _elements(table, name, elements)


def add_ranges(table: str, name: str, ranges: Iterable[tuple[bytes, bytes]]) -> Request:
    """Put ranges (first address, first address behind it) into an interval set; they must not overlap."""
    elements = []
    for first, behind in ranges:
        elements.append(nested(1, nested(1, attribute(1, first))))
        elements.append(nested(1, nested(1, attribute(1, behind)), attribute(3, _be(_ELEMENT_END))))
    return _elements(table, name, elements)


def _elements(table: str, name: str, elements: Sequence[bytes]) -> Request:
    body = attribute(1, table) + attribute(2, name) + nested(3, *elements)
    return _request(_NEWSETELEM, NLM_F_CREATE, body, f"elements of {name}")


def add_rule(table: str, chain: str, *expressions: bytes, family: int = _INET) -> Request:
    """Append a rule."""
    body = attribute(1, table) + attribute(2, chain) + nested(4, *expressions)
    return _request(_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, body, f"rule in {chain}", family=family)


def interface(name: str) -> bytes:
    """Return an interface name as a set's key."""
    return name.encode().ljust(16, b"\0")


def came_from(names: str) -> bytes:
    """The packet came in through an interface of the set."""
    return _meta(_META_IIFNAME, _REG_1) + _in_set(names)


def came_from_link(name: str) -> bytes:
    """The packet came in through the interface of this name."""
    return _meta(_META_IIFNAME, _REG_1) + _compare(interface(name))


def protocol_of_frame(number: int) -> bytes:
    """What the frame carries, as Ethernet has it (0x0800 is IPv4)."""
    return _meta(_META_PROTOCOL, _REG_1) + _compare(struct.pack(">H", number))


def link_field(offset: int, value: bytes, *, inverted: bool = False) -> bytes:
    """The bytes at an offset of the frame's header are these (or: are not)."""
    return _payload(_LINK_HEADER, offset, len(value)) + _compare(value, inverted=inverted)


def network_field(offset: int, value: bytes) -> bytes:
    """The bytes at an offset of what the frame carries are these."""
    return _payload(_NETWORK_HEADER, offset, len(value)) + _compare(value)


def transport_field(offset: int, value: bytes) -> bytes:
    """The bytes at an offset of the transport protocol's header are these."""
    return _payload(_TRANSPORT_HEADER, offset, len(value)) + _compare(value)


def goes_to(names: str, *, inverted: bool = False) -> bytes:
    """The packet goes out through an interface of the set (or: through none of it)."""
    return _meta(_META_OIFNAME, _REG_1) + _in_set(names, inverted=inverted)


def from_and_to(pairs: str) -> bytes:
    """In and out interface are a pair of the set."""
    return _meta(_META_IIFNAME, _REG_1) + _meta(_META_OIFNAME, _REG_2) + _in_set(pairs)


def came_from_none_named(prefix: str) -> bytes:
    """The packet came in through no interface whose name begins so."""
    return _meta(_META_IIFNAME, _REG_1) + _compare(prefix.encode(), inverted=True)


def is_ipv4(*, inverted: bool = False) -> bytes:
    """The packet is IPv4 (or: is not)."""
    return _meta(_META_NFPROTO, _REG_1) + _compare(bytes([_IPV4]), inverted=inverted)


def source_in(ranges: str, *, inverted: bool = False) -> bytes:
    """The IPv4 source lies in the set (or: does not)."""
    return is_ipv4() + _payload(_NETWORK_HEADER, 12, 4) + _in_set(ranges, inverted=inverted)


def destination_in(ranges: str) -> bytes:
    """The IPv4 destination lies in the set."""
    return is_ipv4() + _payload(_NETWORK_HEADER, 16, 4) + _in_set(ranges)


def is_ipv6() -> bytes:
    """The packet is IPv6."""
    return _meta(_META_NFPROTO, _REG_1) + _compare(bytes([_IPV6]))


def source6_in(ranges: str, *, inverted: bool = False) -> bytes:
    """The IPv6 source lies in the set (or: does not)."""
    return is_ipv6() + _payload(_NETWORK_HEADER, 8, 16) + _in_set(ranges, inverted=inverted)


def destination6_in(ranges: str) -> bytes:
    """The IPv6 destination lies in the set."""
    return is_ipv6() + _payload(_NETWORK_HEADER, 24, 16) + _in_set(ranges)


def protocol_is(number: int) -> bytes:
    """The transport protocol."""
    return _meta(_META_L4PROTO, _REG_1) + _compare(bytes([number]))


def to_port(port: int) -> bytes:
    """The destination port; stands behind :func:`protocol_is` tcp or udp."""
    return _payload(_TRANSPORT_HEADER, 2, 2) + _compare(struct.pack(">H", port))


def destination_is(address: str) -> bytes:
    """The IPv4 destination; with 0.0.0.0 any address of this machine but those of its loopback."""
    if address != "0.0.0.0":  # noqa: S104  # compared, not bound
        return is_ipv4() + _payload(_NETWORK_HEADER, 16, 4) + _compare(socket.inet_aton(address))
    kind = _expression("fib", attribute(1, _be(_REG_1)), attribute(2, _be(3)), attribute(3, _be(2)))
    return (
        is_ipv4() + kind + _compare(struct.pack("=I", _LOCAL_ADDRESS)) + _payload(_NETWORK_HEADER, 16, 1) + _compare(b"\x7f", inverted=True)
    )


def was_redirected() -> bytes:
    """The packet belongs to a connection whose destination a rule has changed."""
    state = _expression("ct", attribute(1, _be(_REG_1)), attribute(2, _be(2)))
    return state + _masked(_TRANSLATED)


def answers() -> bytes:
    """The packet belongs to a connection that exists (established, related)."""
    state = _expression("ct", attribute(1, _be(_REG_1)), attribute(2, _be(0)))
    return state + _masked(2 | 4)


def _masked(bits: int) -> bytes:
    """One of the bits is set in the register."""
    zero = struct.pack("=I", 0)
    mask = (nested(4, attribute(1, struct.pack("=I", bits))), nested(5, attribute(1, zero)))
    masked = _expression("bitwise", attribute(1, _be(_REG_1)), attribute(2, _be(_REG_1)), attribute(3, _be(4)), *mask)
    return masked + _compare(zero, inverted=True)


def verdict(code: int) -> bytes:
    """ACCEPT (the other tables still have their say) or DROP (final)."""
    return _expression("immediate", attribute(1, _be(0)), nested(2, nested(2, attribute(1, _be(code)))))


def jump(chain: str) -> bytes:
    """Go on in another chain, and come back at its end."""
    return _expression("immediate", attribute(1, _be(0)), nested(2, nested(2, attribute(1, _be(_JUMP)), attribute(2, chain))))


def redirect(address: str, port: int) -> bytes:
    """Give the connection another destination, and its answers the old one for a source."""
    target = _immediate(_REG_1, socket.inet_aton(address)) + _immediate(_REG_2, struct.pack(">H", port))
    fields = ((1, 1), (2, _IPV4), (3, _REG_1), (5, _REG_2))
    return target + _expression("nat", *(attribute(kind, _be(value)) for kind, value in fields))


def _immediate(register: int, value: bytes) -> bytes:
    return _expression("immediate", attribute(1, _be(register)), nested(2, attribute(1, value)))


def masquerade() -> bytes:
    """Take the address of the outgoing interface for a source."""
    return _expression("masq")


def generation(kernel: NetlinkSocket) -> int:
    """Return the number of the rule set's present state; any change by anybody raises it."""
    answer = kernel.get(_request(_GETGEN, 0, b"", "read the firewall's generation", family=_UNSPEC))[0]
    return int.from_bytes(dict(attributes(answer[_NFGENMSG.size :]))[1], "big")


def commit(kernel: NetlinkSocket, requests: Sequence[Request], *, expected: int) -> bool:
    """Apply all requests at once or none; return False when the rule set is no longer at the expected generation."""
    begin = _batch(_BATCH_BEGIN, attribute(1, _be(expected)))
    try:
        kernel.batch(begin, requests, _batch(_BATCH_END, b""))
    except OSError as err:
        if err.errno == errno.ERESTART:
            return False
        raise
    return True


def comment_of(kernel: NetlinkSocket, table: str) -> str | None:
    """Return the comment of a table ("" when it has none), or None when there is no such table."""
    try:
        answer = kernel.get(_request(_GETTABLE, 0, attribute(1, table), f"read table {table}"))[0]
    except FileNotFoundError:
        return None
    return text(dict(attributes(answer[_NFGENMSG.size :])).get(6, b"\0\0")[2:])


def base_chains(kernel: NetlinkSocket) -> list[Chain]:
    """Return every base chain of the families ip, ip6, inet and bridge, of whatever table."""
    request = _request(_GETCHAIN, NLM_F_DUMP, b"", "list chains", family=_UNSPEC)
    result = []
    for body in kernel.get(request):
        found = dict(attributes(body[_NFGENMSG.size :]))
        family = _FAMILIES.get(body[0])
        if family and 4 in found:
            numbers = {key: int.from_bytes(found.get(key, b""), "big") for key in (5, 6)}
            hook = int.from_bytes(dict(attributes(found[4]))[1], "big")
            names = {"table": text(found[1]), "name": text(found[3])}
            result.append(Chain(family=family, hook=hook, policy=numbers[5], rules=numbers[6], **names))
    return result


def _request(kind: int, flags: int, body: bytes, what: str, *, family: int = _INET) -> Request:
    return Request(_SUBSYSTEM << 8 | kind, flags, _NFGENMSG.pack(family, 0, b"\0\0") + body, what=f"firewall: {what}")


def _batch(kind: int, body: bytes) -> Request:
    return Request(kind, 0, _NFGENMSG.pack(_UNSPEC, 0, struct.pack(">H", _SUBSYSTEM)) + body, what="firewall transaction")


def _expression(name: str, *members: bytes) -> bytes:
    return nested(1, attribute(1, name), nested(2, *members))


def _meta(key: int, register: int) -> bytes:
    return _expression("meta", attribute(1, _be(register)), attribute(2, _be(key)))


def _compare(value: bytes, *, inverted: bool = False) -> bytes:
    return _expression("cmp", attribute(1, _be(_REG_1)), attribute(2, _be(int(inverted))), nested(3, attribute(1, value)))


def _in_set(name: str, *, inverted: bool = False) -> bytes:
    flags = (attribute(5, _be(1)),) if inverted else ()
    return _expression("lookup", attribute(1, name), attribute(2, _be(_REG_1)), *flags)


def _payload(base: int, offset: int, size: int) -> bytes:
    fields = ((1, _REG_1), (2, base), (3, offset), (4, size))
    return _expression("payload", *(attribute(kind, _be(value)) for kind, value in fields))


def _be(value: int) -> bytes:
    return struct.pack(">I", value)

"""The firewall of our networks: one nftables table of our own, always made as a whole, in one transaction.

What it says (``nft list table inet notebook_containers`` shows it):

- containers of one network reach each other, those of two networks do not;
- a container reaches the outside (masqueraded) and gets the answers; nobody outside reaches a container but by published ports, which
  the forwarder on the host carries or a redirection leads inside (:mod:`.redirect`);
- a container reaches no service of the host, the notebook server above all: only ping and answers pass, unless it asked for the host
  (``--add-host NAME:host-gateway``) and its network is not internal;
- nothing reaches the cloud's metadata addresses but DNS (some clouds serve names there);
- an internal network reaches nothing;
- interfaces between which the host did not forward before we switched forwarding on still get nothing from each other.

No other table is ever touched. The table's comment holds a digest of what it was made from: so a table that somebody flushed or that
lacks a network is seen and made again, and an unchanged one costs two questions.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache

from notebook_containers.errors import NetworkError
from notebook_containers.linux.netlink import NETLINK_NETFILTER, NetlinkSocket, Request
from notebook_containers.network import legacy, links, nftables as nft, owned, spoofing
from notebook_containers.network.owned import OwnBridge

TABLE = "notebook_containers"
_METADATA6 = ("fd00:ec2::254/128", "fe80::/10")
_METADATA = ("169.254.0.0/16", "168.63.129.16/32")
_DNS = 53
_SRCNAT_PRIORITY = 100
_ATTEMPTS = 50
_EFFECT = "containers reach nothing outside; let them pass"
# Links of these kinds belong to somebody who routes on purpose (another container engine, a virtual machine's bridge).
_ROUTED_KINDS = frozenset({"bridge", "veth"})


def ensure(kernel: NetlinkSocket) -> tuple[str, ...]:
    """Make the table say what the bridges of this package need, or remove it when there is none; return warnings in words.

    ``kernel`` is a route socket of the namespace. Idempotent, atomic, and safe with other processes at the same time: the kernel refuses
    a transaction that was prepared before somebody else's, and it is prepared anew. A warning tells of a firewall of the host's own
    that will drop what this one lets pass. Raises NetworkError.
    """
    try:
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
            _replace(netfilter, kernel)
            return obstacles(netfilter) if owned.own_bridges(kernel) else ()
    except OSError as err:
        hint = "this kernel may lack nf_tables; use --network none, or a kernel with it"
        raise NetworkError(f"the firewall could not be set: {err.strerror or err}", hint=hint) from err


def obstacles(netfilter: NetlinkSocket) -> tuple[str, ...]:
    """Return what of the host's own firewall drops forwarded packets by policy, and how to let ours pass."""
    found = []
    for chain in nft.base_chains(netfilter):
        if chain.hook == nft.FORWARD and chain.policy == nft.DROP and chain.family in ("ip", "inet") and chain.table != TABLE:
            place = f"{chain.family} {chain.table} {chain.name}"
            insert = f"nft insert rule {place}"
            remedy = f"{insert} iifname 'nbc-*' accept; {insert} oifname 'nbc-*' ct state established,related accept"
            found.append(f"the host's firewall (chain {place}) drops forwarded packets: {_EFFECT}: {remedy}")
    if legacy.forward_policy_is_drop():
        remedy = "iptables -I FORWARD -i nbc-+ -j ACCEPT; iptables -I FORWARD -o nbc-+ -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
        found.append(f"the host's iptables drop forwarded packets: {_EFFECT}: {remedy}")
    return tuple(found)


def _replace(netfilter: NetlinkSocket, kernel: NetlinkSocket) -> None:
    for _ in range(_ATTEMPTS):
        generation = nft.generation(netfilter)  # read first: what is seen below is at least as new
        everything = links.all_links(kernel)
        bridges = [bridge for bridge in map(OwnBridge.of, everything) if bridge]
        closed = _closed(everything) if any(bridge.switched or bridge.switched6 for bridge in bridges) else []
        admitted = tuple(owned.admitted(everything))
        comment, requests = _table(tuple(bridges), tuple(closed), admitted) if bridges else ("", ())
        walls = owned.guarded(everything)
        if _is_current(netfilter, comment, requests, walls):
            return
        clean = [nft.add_table(TABLE, ""), nft.delete_table(TABLE)]
        if walls or _has_walls(netfilter):
            clean += [nft.add_table(TABLE, "", family=nft.BRIDGE), nft.delete_table(TABLE, family=nft.BRIDGE), *spoofing.table(walls)]
        if nft.commit(netfilter, [*clean, *requests], expected=generation):
            return
    raise NetworkError("the firewall could not be set: somebody changes the rules all the time", hint="try again")


def strange(netfilter: NetlinkSocket, kernel: NetlinkSocket) -> str:
    """Return in words what is wrong with the table, or an empty text: it is there without a bridge, missing, or has other rules."""
    everything = links.all_links(kernel)
    bridges = tuple(bridge for bridge in map(OwnBridge.of, everything) if bridge)
    present = nft.comment_of(netfilter, TABLE) is not None
    if not bridges or not present:
        return "no network needs them" if present else "they are missing: containers are not kept apart" if bridges else ""
    wanted = _count(_table(bridges, (), tuple(owned.admitted(everything)))[1])
    found = _found(netfilter)
    return "" if found == wanted else f"there are {found}, and {wanted} are needed"


def is_metadata(address: str) -> bool:
    """Tell whether nothing but DNS is reached at the address: a cloud's metadata, link-local ones."""
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(text) for text in _METADATA)


def _count(requests: Sequence[Request]) -> int:
    return sum(request.what.startswith("firewall: rule") for request in requests)


def _found(netfilter: NetlinkSocket) -> int:
    return _rules_of(nft.base_chains(netfilter))


def _rules_of(chains: Sequence[nft.Chain]) -> int:
    return sum(chain.rules for chain in chains if chain.table == TABLE and chain.family == "inet")


def _is_current(netfilter: NetlinkSocket, comment: str, requests: Sequence[Request], walls: Sequence[owned.Guarded]) -> bool:
    present = nft.comment_of(netfilter, TABLE)
    if not requests or present is None:
        return not requests and present is None
    chains = nft.base_chains(netfilter)
    there = [(chain.name, chain.rules) for chain in chains if chain.table == TABLE and chain.family == "bridge"]
    wanted = [(spoofing.chain_name(walls), _count(spoofing.table(walls)))] if walls else []
    return present == comment and there == wanted and _rules_of(chains) == _count(requests)


def _has_walls(netfilter: NetlinkSocket) -> bool:
    return any(chain.table == TABLE and chain.family == "bridge" for chain in nft.base_chains(netfilter))


def _comment(requests: Sequence[Request]) -> str:
    digest = hashlib.sha256(b"".join(request.payload for request in requests)).hexdigest()
    return f"made by notebook_containers, {digest[:16]}"


def _closed(everything: Sequence[links.Link]) -> list[str]:
    return sorted(link.name for link in everything if link.kind not in _ROUTED_KINDS and link.name != "lo")


@lru_cache(maxsize=4)  # asked for each container, and nearly always the same
def _table(bridges: tuple[OwnBridge, ...], closed: tuple[str, ...], admitted: tuple[str, ...]) -> tuple[str, tuple[Request, ...]]:
    six = any(bridge.subnet6 for bridge in bridges)
    content = [
        *_sets(bridges, closed, admitted),
        *_forward(bridges, six=six),
        *_input(admits=bool(admitted), six=six),
        *_postrouting(bridges),
    ]
    comment = _comment(content)
    return comment, (nft.add_table(TABLE, comment), *content)


def _sets(bridges: Sequence[OwnBridge], closed: Sequence[str], admitted: Sequence[str]) -> list[Request]:
    ordered = sorted(bridges, key=lambda bridge: bridge.name)
    names = {
        "bridges": [nft.interface(bridge.name) for bridge in ordered],
        "internal": [nft.interface(bridge.name) for bridge in ordered if bridge.internal],
        "same": [nft.interface(bridge.name) * 2 for bridge in ordered if bridge.icc],
        "closed": [nft.interface(name) for name in closed],
    }
    ranges = {"subnets": _ranges([bridge.subnet for bridge in ordered]), "metadata": _ranges(_METADATA)}
    ranges |= {"admitted": _ranges(admitted)} if admitted else {}
    translated = [bridge for bridge in ordered if bridge.masquerade]
    ranges |= {"translated": _ranges([bridge.subnet for bridge in translated])} if len(translated) < len(ordered) else {}
    ranges6 = {
        "subnets6": _ranges([bridge.subnet6 for bridge in ordered if bridge.subnet6]),
        "translated6": _ranges([bridge.subnet6 for bridge in translated if bridge.subnet6]),
    }
    ranges6 |= {"metadata6": _ranges(_METADATA6)} if ranges6["subnets6"] else {}
    requests: list[Request] = []
    for number, (name, keys) in enumerate(names.items(), 1):
        requests.append(nft.add_set(TABLE, name, nft.IFNAME_PAIR if name == "same" else nft.IFNAME, number))
        requests += [nft.add_elements(TABLE, name, keys)] if keys else []
    kinds = [*((name, nft.IPV4, pairs) for name, pairs in ranges.items())]
    kinds += [(name, nft.IPV6, pairs) for name, pairs in ranges6.items() if ranges6["subnets6"]]
    for number, (name, kind, pairs) in enumerate(kinds, len(names) + 1):
        requests.append(nft.add_set(TABLE, name, kind, number, interval=True))
        requests += [nft.add_ranges(TABLE, name, pairs)] if pairs else []
    return requests


def _forward(bridges: Sequence[OwnBridge], *, six: bool) -> list[Request]:
    chain = nft.add_chain(TABLE, "forward", kind="filter", hook=nft.FORWARD, priority=0)
    ours = nft.came_from("bridges")
    rule = _rules("forward")
    return [
        chain,
        # Packets inside one bridge come by here only where br_netfilter shows them to us.
        rule(nft.from_and_to("same"), nft.verdict(nft.ACCEPT)),
        rule(ours, nft.goes_to("bridges"), nft.verdict(nft.DROP)),
        rule(nft.came_from("internal"), nft.verdict(nft.DROP)),
        rule(nft.goes_to("internal"), nft.verdict(nft.DROP)),
        rule(nft.goes_to("bridges"), nft.answers(), nft.verdict(nft.ACCEPT)),
        rule(nft.goes_to("bridges"), nft.was_redirected(), nft.verdict(nft.ACCEPT)),
        rule(nft.goes_to("bridges"), nft.verdict(nft.DROP)),
        *(_forward6(ours, rule) if six else [rule(ours, nft.is_ipv4(inverted=True), nft.verdict(nft.DROP))]),
        rule(ours, nft.source_in("subnets", inverted=True), nft.verdict(nft.DROP)),
        rule(ours, nft.destination_in("metadata"), nft.protocol_is(nft.UDP), nft.to_port(_DNS), nft.verdict(nft.ACCEPT)),
        rule(ours, nft.destination_in("metadata"), nft.protocol_is(nft.TCP), nft.to_port(_DNS), nft.verdict(nft.ACCEPT)),
        rule(ours, nft.destination_in("metadata"), nft.verdict(nft.DROP)),
        *_closing(bridges, rule),
    ]


def _forward6(ours: bytes, rule: Callable[..., Request]) -> list[Request]:
    """A container's IPv6 packets come from its network's own addresses, and do not go to metadata."""
    return [
        rule(ours, nft.source6_in("subnets6", inverted=True), nft.verdict(nft.DROP)),
        rule(ours, nft.destination6_in("metadata6"), nft.verdict(nft.DROP)),
    ]


def _closing(bridges: Sequence[OwnBridge], rule: Callable[..., Request]) -> list[Request]:
    """What the host did not forward before we switched forwarding on, it still does not: of each version by itself."""
    switched, switched6 = any(bridge.switched for bridge in bridges), any(bridge.switched6 for bridge in bridges)
    only = b"" if switched == switched6 or not any(bridge.subnet6 for bridge in bridges) else nft.is_ipv4() if switched else nft.is_ipv6()
    return [rule(nft.came_from("closed"), nft.goes_to("closed"), *([only] if only else []), nft.verdict(nft.DROP))]


def _input(*, admits: bool, six: bool) -> list[Request]:
    chain = nft.add_chain(TABLE, "input", kind="filter", hook=nft.INPUT, priority=0)
    ours = nft.came_from("bridges")
    rule = _rules("input")
    return [
        chain,
        rule(ours, nft.answers(), nft.verdict(nft.ACCEPT)),
        rule(nft.came_from("internal"), nft.verdict(nft.DROP)),
        rule(ours, nft.is_ipv4(), nft.protocol_is(nft.ICMP), nft.verdict(nft.ACCEPT)),
        # Without it nobody finds the gateway: neighbours are asked for by ICMPv6.
        *([rule(ours, nft.is_ipv6(), nft.protocol_is(nft.ICMPV6), nft.verdict(nft.ACCEPT))] if six else []),
        *([rule(ours, nft.source_in("admitted"), nft.verdict(nft.ACCEPT))] if admits else []),
        rule(ours, nft.verdict(nft.DROP)),
    ]


def _postrouting(bridges: Sequence[OwnBridge]) -> list[Request]:
    chain = nft.add_chain(TABLE, "postrouting", kind="nat", hook=nft.POSTROUTING, priority=_SRCNAT_PRIORITY)
    # By source address, not by interface: the kernel no longer knows here where a packet came in.
    rule, outward = _rules("postrouting"), nft.goes_to("bridges", inverted=True)
    four = "subnets" if all(bridge.masquerade for bridge in bridges) else "translated"
    rules = [rule(nft.source_in(four), outward, nft.masquerade())]
    rules += [rule(nft.source6_in("translated6"), outward, nft.masquerade())] if any(bridge.subnet6 for bridge in bridges) else []
    return [chain, *rules]


def _rules(chain: str) -> Callable[..., Request]:
    def rule(*expressions: bytes) -> Request:
        return nft.add_rule(TABLE, chain, *expressions)

    return rule


def _ranges(subnets: Sequence[str]) -> list[tuple[bytes, bytes]]:
    networks = ipaddress.collapse_addresses(ipaddress.ip_network(subnet) for subnet in subnets)  # type: ignore[type-var]
    return [(network.network_address.packed, (network.broadcast_address + 1).packed) for network in networks]

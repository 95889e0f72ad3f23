"""Published ports by the kernel's own way: the firewall leads packets from other machines into the container, with the client's address.

The forwarder holds the port and serves what comes over loopback, which no firewall can lead elsewhere; what comes from other machines (and
from this one to another address of its own) never gets to it. The rules are a table that belongs to one process of ours
(:mod:`.redirector`): it goes when that ends, which it does with the container's forwarder.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import NamedTuple

from notebook_containers.errors import NetworkError
from notebook_containers.linux.netlink import NETLINK_NETFILTER, NetlinkSocket, Request
from notebook_containers.network import conntrack, firewall, nftables as nft
from notebook_containers.network.ports import PortMapping
from notebook_containers.network.spawn import spawn

_DESTINATION_PRIORITY = -100


class Port(NamedTuple):
    """A redirected port: protocol, the host's address (0.0.0.0: any) and port, the container's port."""

    protocol: str
    host_ip: str
    host_port: int
    container_port: int


def possible(mappings: Sequence[PortMapping]) -> list[PortMapping]:
    """Return the mappings that others can reach over IPv4: loopback's cannot be redirected, and our containers have no IPv6."""
    return [mapping for mapping in mappings if not mapping.only_local and ":" not in mapping.host_ip]


def obstacles() -> tuple[str, ...]:
    """Return what of this machine's own firewall would keep redirected packets away, in words."""
    try:
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
            return firewall.obstacles(netfilter)
    except OSError as err:
        raise NetworkError(f"the firewall cannot be read: {err.strerror or err}") from err


def start(address: str, mappings: Sequence[PortMapping]) -> int:
    """Lead the mappings' ports to the container at ``address`` and return a descriptor: while anybody holds it open, they are led there.

    The caller closes its own. Raises NetworkError when the kernel cannot do it.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    plan = {
        "pipe": reading,
        "address": address,
        "ports": [_port(mapping) for mapping in mappings],
    }
    try:
        spawn("notebook_containers.network.redirector", plan, descriptors=[reading], what=f"ports of {address} could not be redirected")
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    return writing


def _port(mapping: PortMapping) -> Port:
    return Port(mapping.protocol, mapping.host_ip, mapping.host_port, mapping.container_port)


def forget(address: str, ports: Sequence[Port]) -> int:
    """Forget the connections that were led through the ports to the container, and return how many; raises OSError.

    Without that a udp flow goes on past rules that have changed, to an address that may be another's by then.
    """
    known = {(conntrack.PROTOCOLS[port.protocol], port.host_port, port.container_port) for port in ports}
    return conntrack.forget(lambda flow: flow.server == address and (flow.protocol, flow.port, flow.server_port) in known)


def forget_unled(address: str, ports: Sequence[Port]) -> int:
    """Forget the udp flows to the ports that are not led to the container, and return how many; raises OSError.

    They began before the port was redirected. The kernel asks the rules once for a flow: a client that does not pause would stay outside.
    """
    led = {port.host_port: port for port in ports if port.protocol == "udp"}

    def unled(flow: conntrack.Flow) -> bool:
        port = led.get(flow.port) if flow.protocol == conntrack.PROTOCOLS["udp"] and flow.server != address else None
        return port is not None and _meant(flow.address, port.host_ip)

    return conntrack.forget(unled) if led else 0


def _meant(address: str, host_ip: str) -> bool:
    """Whether packets to ``address`` are for the port: loopback's never are, nor are those that this machine only passes on."""
    if address.startswith("127.") or host_ip not in ("0.0.0.0", address):  # noqa: S104  # compared, not bound
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))  # which an address of this machine allows
        except OSError:
            return False
        return True


def forget_mappings(address: str, mappings: Sequence[PortMapping]) -> int:
    """Forget the connections through published ports that are taken back; the same as :func:`forget`."""
    return forget(address, [_port(mapping) for mapping in mappings])


def table(name: str, address: str, ports: Sequence[Port]) -> list[Request]:
    """Return what makes the table: one rule for each port, for two ways of coming.

    Containers of ours are left out: they reach no service of this machine, published ones neither.
    """
    rules = [
        nft.add_rule(
            name,
            "ports",
            nft.protocol_is(conntrack.PROTOCOLS[port.protocol]),
            nft.to_port(port.host_port),
            nft.destination_is(port.host_ip),
            nft.redirect(address, port.container_port),
        )
        for port in ports
    ]
    return [
        nft.add_table(name, f"ports of {address}, made by notebook_containers", owned=True),
        nft.add_plain_chain(name, "ports"),
        *rules,
        nft.add_chain(name, "prerouting", kind="nat", hook=nft.PREROUTING, priority=_DESTINATION_PRIORITY),
        nft.add_rule(name, "prerouting", nft.came_from_none_named("nbc-"), nft.jump("ports")),
        nft.add_chain(name, "output", kind="nat", hook=nft.OUTPUT, priority=_DESTINATION_PRIORITY),
        nft.add_rule(name, "output", nft.jump("ports")),
    ]

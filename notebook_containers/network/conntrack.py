"""The kernel's memory of connections (conntrack): what of it leads to a container's ports, and forgetting that.

Standard library and ``linux`` only. Source: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from notebook_containers.lean import dataclass
from notebook_containers.linux.netlink import NETLINK_NETFILTER, NLM_F_DUMP, NetlinkSocket, Request, attribute, attributes

_SUBSYSTEM, _GET, _DELETE = 1, 1, 2
_HEADER = struct.pack("=BB2s", socket.AF_INET, 0, b"\0\0")
_ORIGINAL, _REPLY, _IDENTITY = 1, 2, 12
_ADDRESSES, _TRANSPORT = 1, 2
_SOURCE, _DESTINATION = 1, 2
_PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One connection: who began it, where it was sent to, and who answers; ``identity`` is how the kernel knows it."""

    protocol: int
    client: str
    address: str
    port: int
    server: str
    server_port: int
    identity: bytes


def flows() -> list[Flow]:
    """Return every IPv4 connection that the network namespace of the calling thread remembers; raises OSError."""
    with NetlinkSocket(NETLINK_NETFILTER) as kernel:
        return _flows(kernel)


def forget(meant: Callable[[Flow], bool]) -> int:
    """Forget every connection that is ``meant`` and return how many; one that ends meanwhile is no error. Raises OSError."""
    with NetlinkSocket(NETLINK_NETFILTER) as kernel:
        found = [flow for flow in _flows(kernel) if meant(flow)]
        for flow in found:
            try:
                kernel.execute([Request(_SUBSYSTEM << 8 | _DELETE, 0, _HEADER + flow.identity, what="forget a connection")])
            except OSError as err:
                if err.errno != errno.ENOENT:
                    raise
        return len(found)


def _flows(kernel: NetlinkSocket) -> list[Flow]:
    answers = kernel.get(Request(_SUBSYSTEM << 8 | _GET, NLM_F_DUMP, _HEADER, what="list connections"))
    return [flow for body in answers if (flow := _flow(body[len(_HEADER) :]))]


def _flow(body: bytes) -> Flow | None:
    found = dict(attributes(body))
    original, reply = _tuple(found.get(_ORIGINAL, b"")), _tuple(found.get(_REPLY, b""))
    if original is None or reply is None:
        return None
    return Flow(
        protocol=original[0],
        client=original[1],
        address=original[3],
        port=original[4],
        server=reply[1],
        server_port=reply[2],
        # the tuple names it, and the number makes sure that it is not another that came meanwhile
        identity=attribute(_ORIGINAL | 0x8000, found[_ORIGINAL]) + (attribute(_IDENTITY, found[_IDENTITY]) if _IDENTITY in found else b""),
    )


def _tuple(data: bytes) -> tuple[int, str, int, str, int] | None:
    """Return protocol, source, its port, destination, its port; None for what is no IPv4."""
    parts = dict(attributes(data))
    addresses, transport = dict(attributes(parts.get(_ADDRESSES, b""))), dict(attributes(parts.get(_TRANSPORT, b"")))
    if len(addresses.get(_SOURCE, b"")) != 4 or len(addresses.get(_DESTINATION, b"")) != 4:
        return None
    source, destination = (socket.inet_ntoa(addresses[end]) for end in (_SOURCE, _DESTINATION))
    ports = [int.from_bytes(transport.get(end, b""), "big") for end in (_SOURCE_PORT, _DESTINATION_PORT)]
    return int.from_bytes(transport.get(_PROTOCOL, b"\0")), source, ports[0], destination, ports[1]

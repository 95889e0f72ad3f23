"""What of the network a killed process may have left: ends of pairs that no container has, rules that no bridge needs, port carriers."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from notebook_containers.errors import InvalidDocument, NetworkError
from notebook_containers.lean import dataclass
from notebook_containers.linux.netlink import NETLINK_NETFILTER, NetlinkSocket
from notebook_containers.network import firewall, links
from notebook_containers.network.owned import own_bridges
from notebook_containers.oci.documents import untrusted_json

_PORT = re.compile(r"nbv[0-9a-f]{11}\Z")
_MODULE = b"notebook_containers.network.forwarder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A process that carries published ports: its pid, its ports in words, and whether what it does that for has ended."""

    pid: int
    ports: tuple[str, ...]
    ended: bool


def strange_links(expected: Mapping[str, Collection[str]]) -> list[str]:
    """Return the ends of pairs on the bridges of these networks (by id) that are not among the names expected there."""
    with NetlinkSocket() as kernel:
        everything = links.all_links(kernel)
        bridges = {bridge.name: bridge.network_id for bridge in own_bridges(kernel)}
    ours = {link.index: expected[bridges[link.name]] for link in everything if bridges.get(link.name) in expected}
    ports = [link for link in everything if link.kind == "veth" and _PORT.match(link.name) and link.master in ours]
    return sorted(link.name for link in ports if link.name not in ours[link.master])


def delete_link(name: str) -> None:
    """Delete a link; that it is gone is no error. Raises NetworkError."""
    try:
        with NetlinkSocket() as kernel:
            link = links.find_link(kernel, name)
            if link is not None:
                kernel.execute([links.delete_link(link.index, name)])
    except OSError as err:
        raise NetworkError(f"link {name} could not be removed: {err.strerror or err}") from err


def strange_rules() -> str:
    """Return in words what is wrong with the firewall's table of this package, or an empty text."""
    with NetlinkSocket() as kernel, NetlinkSocket(NETLINK_NETFILTER) as netfilter:
        return firewall.strange(netfilter, kernel)


def mend_rules() -> None:
    """Write the table anew, or remove it when no bridge needs it; raises NetworkError."""
    with NetlinkSocket() as kernel:
        firewall.ensure(kernel)


def carriers() -> Iterator[Carrier]:
    """Yield the processes that carry published ports, of every store, as far as this user may see them."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError, InvalidDocument):
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if _MODULE in words:
                plan = untrusted_json(words[words.index(_MODULE) + 1], what=f"the plan of process {name}")
                ports, alive = plan.get("ports"), plan.get("alive")
                said = tuple(str(port) for port in ports) if isinstance(ports, list) else ()
                yield Carrier(pid=int(name), ports=said, ended=isinstance(alive, int) and _ended(int(name), alive))


def _ended(pid: int, alive: int) -> bool:
    """Tell whether the process that this one watches, by a pidfd, has ended (proc_pid_fdinfo(5))."""
    with open(f"/proc/{pid}/fdinfo/{alive}", encoding="ascii") as file:
        return any(line.split() == ["Pid:", "-1"] for line in file)

"""The process that owns one container's redirections: it makes them, waits until nobody needs them, and then forgets the connections.

Started by :mod:`~notebook_containers.network.redirect`. It keeps the right to change the firewall and does nothing else; the forwarder,
which handles strangers' bytes, has no right at all.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress

from notebook_containers.linux import syscalls
from notebook_containers.linux.netlink import NETLINK_NETFILTER, NetlinkSocket
from notebook_containers.network import nftables as nft, redirect

_ATTEMPTS = 50
_NET_ADMIN = 1 << 12


def main(text: str) -> None:
    """Read the plan, make the table, say "ready <pid>" (or "failed <why>"), and stay until the pipe's other end is closed everywhere."""
    plan = json.loads(text)
    if os.fork():  # the starter reaps this one at once, and init the one that stays, which is the table's owner
        os._exit(0)
    ports = [redirect.Port(*fields) for fields in plan["ports"]]
    netfilter = None
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as name:
            name.write("nbc-redirect")
        _keep_one_right()
        netfilter = NetlinkSocket(NETLINK_NETFILTER)
        _make(netfilter, f"notebook_containers_ports_{os.getpid()}", plan["address"], ports)
        with suppress(OSError):  # a kernel without this table of connections: those that talk already meet what was there before
            redirect.forget_unled(plan["address"], ports)
    except OSError as err:
        sys.stdout.write(f"failed {err.strerror or err}\n")
        return
    sys.stdout.write(f"ready {os.getpid()}\n")
    sys.stdout.flush()
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    replaced = os.read(plan["pipe"], 1)
    netfilter.close()  # and with it the table
    if not replaced:
        redirect.forget(plan["address"], ports)


def _keep_one_right() -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.capset(_NET_ADMIN, _NET_ADMIN, 0)


def _make(netfilter: NetlinkSocket, name: str, address: str, ports: list[redirect.Port]) -> None:
    for _ in range(_ATTEMPTS):
        if nft.commit(netfilter, redirect.table(name, address, ports), expected=nft.generation(netfilter)):
            return
    raise OSError(0, "somebody changes the firewall all the time")

"""Keeping the firewall as it is meant to be while others change the rules: a watch over the kernel's messages, and the process it lives in.

Any change of any rule is told to everybody who listens. Whoever sees one looks whether our table is still whole, and makes it again within
milliseconds. When that cannot be done, the bridges go down: containers without a network are better than containers without a firewall.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import socket
import sys
from pathlib import Path

from notebook_containers.errors import Error
from notebook_containers.linux import syscalls
from notebook_containers.linux.netlink import NETLINK_NETFILTER, NetlinkSocket
from notebook_containers.network import firewall, links
from notebook_containers.network.owned import own_bridges
from notebook_containers.network.spawn import spawn

_RULES_CHANGED = 1 << 6  # the group NFNLGRP_NFTABLES, number 7
_NAME = firewall.TABLE.encode() + b"\0"  # as a message about our table has it
_CAP_NET_ADMIN = 1 << 12
_TRY_AGAIN_S = 1.0


def start(run: Path) -> None:
    """Start the process that keeps watch for a store, unless there is one; it ends with the last bridge of ours. Raises NetworkError."""
    lock = os.open(run / "guard.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:  # the lock is the open file's: it stays with the process that inherits it
        plan = {"lock": lock}
        spawn("notebook_containers.network.guard", plan, descriptors=[lock], what="the firewall cannot be watched")
    finally:
        os.close(lock)


def watch(stop: int = -1) -> None:
    """Keep the firewall whole until there is no bridge of ours any more, or until the descriptor ``stop`` can be read.

    In the network namespace of the calling thread. The table goes with the last bridge, and that is a change like any other.
    """
    with _listener() as rules, NetlinkSocket() as kernel:
        whole, waiting = _renew(kernel), [rules.fileno(), *([stop] if stop >= 0 else [])]
        while own_bridges(kernel):
            ready, _, _ = select.select(waiting, [], [], None if whole else _TRY_AGAIN_S)
            if stop in ready:
                return
            if _is_told_of_ours(rules) or not whole:
                whole = _renew(kernel)


def _renew(kernel: NetlinkSocket) -> bool:
    """Make the table whole; close the bridges when it cannot be, and open them again when it is."""
    try:
        firewall.ensure(kernel)
    except Error:
        _switch(kernel, up=False)
        return False
    _switch(kernel, up=True)
    return True


def _switch(kernel: NetlinkSocket, *, up: bool) -> None:
    for bridge in own_bridges(kernel):
        link = links.find_link(kernel, bridge.name)
        if link is not None and link.up != up:
            kernel.execute([links.set_link(link.index, up=up)])


def _listener() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER)
    sock.bind((0, _RULES_CHANGED))
    return sock


def _is_told_of_ours(sock: socket.socket) -> bool:
    """Read all that was told, and return whether our table was in it: others may change theirs all day."""
    ours = False
    while True:
        try:
            ours |= _NAME in sock.recv(1 << 16)
        except BlockingIOError:
            return ours
        except OSError as err:
            if err.errno != errno.ENOBUFS:
                raise
            ours = True  # more than fits was told


def main(text: str) -> None:
    """Read the plan, leave the starter's side, say "ready <pid>" on standard output, and keep watch."""
    plan = json.loads(text)
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as name:
            name.write("nbc-guard")
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.capset(_CAP_NET_ADMIN, _CAP_NET_ADMIN, 0)
    except OSError as err:
        sys.stdout.write(f"failed {err.strerror or err}\n")
        return
    if os.fork():  # the starter reaps this process at once, and init the one that stays
        os._exit(0)
    os.set_inheritable(plan["lock"], False)
    os.write(1, f"ready {os.getpid()}\n".encode())
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
    watch()

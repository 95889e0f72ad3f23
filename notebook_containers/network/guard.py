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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from notebook_containers.errors import Error
from notebook_containers.linux import inotify, syscalls
from notebook_containers.linux.netlink import NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket
from notebook_containers.network import firewall, links
from notebook_containers.network.owned import own_bridges
from notebook_containers.network.spawn import spawn

_RULES_CHANGED = 1 << 6  # the group NFNLGRP_NFTABLES, number 7
_LINKS_CHANGED = 1  # the group RTNLGRP_LINK
_BRIDGE = b" subnet="  # in the alias of a bridge of ours, which a message about it has
_NAME = firewall.TABLE.encode() + b"\0"  # as a message about our table has it
_CAP_NET_ADMIN = 1 << 12
_TRY_AGAIN_S = 1.0
_PLACE = "guarded"


def start(run: Path, bridges: Iterable[str]) -> None:
    """Start the process that keeps watch for a store, unless there is one; it ends with the last of the bridges that it was started for.

    Other stores' bridges are theirs to watch, though one table holds the rules of all. Raises NetworkError.
    """
    place = run / _PLACE
    place.mkdir(mode=0o700, exist_ok=True)
    for name in bridges:
        (place / name).touch()
    lock = os.open(run / "guard.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:  # the lock is the open file's: it stays with the process that inherits it
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            plan = {"lock": lock, "place": directory}
            spawn("notebook_containers.network.guard", plan, descriptors=[lock, directory], what="the firewall cannot be watched")
        finally:
            os.close(directory)
    finally:
        os.close(lock)


def watch(stop: int = -1, *, place: int = -1) -> None:
    """Keep the firewall whole until there is no bridge of ours any more, or until the descriptor ``stop`` can be read.

    With the descriptor of a directory, ``place``, only bridges that have a file there count; none when the directory is gone.
    In the network namespace of the calling thread. The table goes with the last bridge, and that is a change like any other.
    """
    with (
        _listener(NETLINK_NETFILTER, _RULES_CHANGED) as rules,
        _listener(NETLINK_ROUTE, _LINKS_CHANGED) as removals,
        _deletions(place) as files,
        NetlinkSocket() as kernel,
    ):
        whole, waiting = _renew(kernel), [rules.fileno(), removals.fileno(), *files, *([stop] if stop >= 0 else [])]
        while _has_bridges(kernel, place):
            ready = _change_of_ours(waiting, removals, files, None if whole else _TRY_AGAIN_S)
            if stop in ready:
                return
            if _is_told_of(rules, _NAME) or not whole:
                whole = _renew(kernel)


def _change_of_ours(waiting: Sequence[int], removals: socket.socket, files: Sequence[int], timeout_s: float | None) -> list[int]:
    """Wait for a change that may concern us; other links come and go with each container, and cost no look at all of them."""
    while True:
        ready = select.select(waiting, [], [], timeout_s)[0]
        for descriptor in files:
            inotify.drain(descriptor)
        if ready != [removals.fileno()] or _is_told_of(removals, _BRIDGE):
            return ready


def _has_bridges(kernel: NetlinkSocket, place: int) -> bool:
    ours = {bridge.name for bridge in own_bridges(kernel)}
    try:
        return bool(ours if place < 0 else ours.intersection(os.listdir(place)))
    except FileNotFoundError:  # the store's run directory is gone
        return False


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


@contextmanager
def _deletions(place: int) -> Iterator[list[int]]:
    """A descriptor that can be read when a file of the directory is deleted: who was killed or deletes a store changes no rule."""
    if place < 0:
        yield []
        return
    try:
        deleted = inotify.entries(f"/proc/self/fd/{place}", inotify.IN_DELETE)
    except OSError:  # no more of these for this user: the next change of the firewall or of a bridge has to do
        yield []
        return
    try:
        yield [deleted]
    finally:
        os.close(deleted)


def _listener(protocol: int, group: int) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    sock.bind((0, group))
    return sock


def _is_told_of(sock: socket.socket, mark: bytes) -> bool:
    """Read all that was told, and return whether something of ours was in it: others may change theirs all day."""
    ours = False
    while True:
        try:
            ours |= mark in sock.recv(1 << 16)
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
    for descriptor in (plan["lock"], plan["place"]):
        os.set_inheritable(descriptor, False)
    os.write(1, f"ready {os.getpid()}\n".encode())
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
    _stay(plan["lock"], plan["place"])


def _stay(lock: int, place: int) -> None:
    """Keep watch until nobody needs it; who came while this process was about to end, and saw the lock held, is seen here."""
    while True:
        watch(place=place)
        fcntl.flock(lock, fcntl.LOCK_UN)
        with NetlinkSocket() as kernel:
            if not _has_bridges(kernel, place):
                return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return

"""The process behind a container's published ports: accepts on sockets it was given, carries bytes to the container, ends with it.

Started by :mod:`~notebook_containers.network.forward`, once per container that publishes ports. Standard library and ``linux`` only, one
thread; it sleeps while nothing comes.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import socket
import sys

from notebook_containers.linux import syscalls
from notebook_containers.network.carry import Door, Loop, TcpPort, UdpPort

_SPARE_DESCRIPTORS = 32
_MOST_DESCRIPTORS = 1 << 16

# In a namespace of its own a container has loopback only, and a program that trusts 127.0.0.1 would trust the whole world
# (CVE-2021-20199). So connections from outside come from an address that is on loopback, but not a loopback address.
INSIDE_SOURCE = "169.254.254.1"


def enter(pid: int, pidfd: int) -> str | None:
    """Join the user and network namespace of the container; return the source address that was made there, None without one."""
    own_user = os.path.samestat(os.stat(f"/proc/{pid}/ns/user"), os.stat("/proc/self/ns/user"))
    # One call joins both, the user namespace first: that gives the right to join the other (setns(2), Linux 5.8).
    syscalls.setns(pidfd, syscalls.CLONE_NEWNET | (0 if own_user else syscalls.CLONE_NEWUSER))
    try:
        from notebook_containers.linux.netlink import NetlinkSocket
        from notebook_containers.network.links import add_address, find_link

        with NetlinkSocket() as kernel:
            loopback = find_link(kernel, "lo")
            kernel.execute([add_address(loopback.index if loopback else 1, INSIDE_SOURCE, f"{INSIDE_SOURCE}/32")])
    except OSError:
        return None
    return INSIDE_SOURCE


def drop_privileges() -> None:
    """Keep nothing but the sockets: no capability, no new one by exec, not to be traced."""
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.capset(0, 0, 0)


def serve(pidfd: int, listeners: list[tuple[socket.socket, str, Door]]) -> None:
    """Carry bytes until the process behind ``pidfd`` has ended."""
    loop = Loop()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _MOST_DESCRIPTORS), hard))
    most = max((min(hard, _MOST_DESCRIPTORS) - _SPARE_DESCRIPTORS) // (2 * max(len(listeners), 1)), 1)

    def ended(_events: int) -> None:
        loop.running = False

    loop.watch(pidfd, selectors.EVENT_READ, ended)
    datagrams = []
    for sock, protocol, door in listeners:
        if protocol == "tcp":
            TcpPort(loop, sock, door, most)
        else:
            datagrams.append(UdpPort(loop, sock, door, most))
    loop.run(lambda: min((due for port in datagrams if (due := port.sweep()) is not None), default=None))


def main(text: str) -> None:
    """Read the plan, prepare, leave the starter's side, say "ready <pid>" (or "failed <why>") on standard output, and serve."""
    plan = json.loads(text)
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as name:
            name.write("nbc-forward")
        source = None if plan["address"] else enter(plan["pid"], plan["pidfd"])
        os.close(plan["pidfd"])
        drop_privileges()
    except OSError as err:
        sys.stdout.write(f"failed {err.strerror or err}\n")
        return
    if os.fork():  # the starter reaps this process at once, and init the one that stays: no zombie in a notebook that runs for weeks
        os._exit(0)
    address = plan["address"] or "127.0.0.1"
    listeners = [(socket.socket(fileno=fd), protocol, Door(address, port, source)) for fd, protocol, port in plan["listeners"]]
    os.write(1, f"ready {os.getpid()}\n".encode())
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
    serve(plan["alive"], listeners)

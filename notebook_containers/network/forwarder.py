"""The process behind a container's published ports: accepts on sockets it was given, carries bytes to the container, ends with it.

Started by :mod:`~notebook_containers.network.forward`, once per container that publishes ports. Standard library and ``linux`` only, one
thread; it sleeps while nothing comes. Its control socket lies in the container's run directory, which is its owner's alone.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

from notebook_containers.linux import process as processes, syscalls
from notebook_containers.network.carry import Loop
from notebook_containers.network.listeners import Door, StreamPort, UdpPort

Place: TypeAlias = tuple[str, str, int]

CONTROL = "ports"
MESSAGE_BYTES, MESSAGE_DESCRIPTORS = 1 << 17, 250
_PATIENCE_S = 10.0
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


class Forwarder:
    """The ports of one container, by protocol, address and number; what may change them comes by the control socket."""

    def __init__(self, loop: Loop, address: str, source: str | None, *, entered: bool) -> None:
        self.loop, self.address, self.source = loop, address, source
        self.entered = entered  # it is inside the container, wherever that is
        self.ports: dict[Place, StreamPort | UdpPort] = {}
        self.redirection: int | None = None  # a pipe: the firewall leads packets into the container until it is closed
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _MOST_DESCRIPTORS), hard))
        self.budget = min(hard, _MOST_DESCRIPTORS) - _SPARE_DESCRIPTORS

    def open(self, listeners: Sequence[tuple[socket.socket, str, int]]) -> None:
        """Serve further bound sockets: socket, protocol, the container's port."""
        for sock, protocol, container_port in listeners:
            door = Door(self.address, container_port, self.source)
            place = (protocol, *sock.getsockname()[:2])
            self.ports[place] = (
                UdpPort(self.loop, sock, door, 1) if protocol == "udp" else StreamPort(self.loop, sock, door, 1, sctp=protocol == "sctp")
            )
        for port in self.ports.values():
            port.most = max(self.budget // (2 * len(self.ports)), 1)

    def close(self, places: Sequence[Place]) -> None:
        """Give ports back, with the connections through them."""
        for place in places:
            if port := self.ports.pop(place, None):
                port.close()

    def redirect(self, pipe: int | None) -> None:
        """Hold another redirection open; the one before ends, and leaves the connections to the other."""
        if self.redirection is not None:
            with suppress(OSError):
                os.write(self.redirection, b"-")
            os.close(self.redirection)
        self.redirection = pipe

    def obey(self, control: socket.socket) -> None:
        """Take one request (see :func:`~notebook_containers.network.forward.change`), do it, and answer."""
        connection, _ = control.accept()
        with connection:
            connection.settimeout(_PATIENCE_S)
            try:
                while message := self._receive(connection):
                    plan, descriptors = message
                    self._change(plan, descriptors)
                    connection.send(b"ok")
            except (OSError, ValueError, KeyError) as err:
                with suppress(OSError):
                    connection.send(str(err).encode()[:200])

    @staticmethod
    def _receive(connection: socket.socket) -> tuple[dict[str, object], list[int]] | None:
        data, descriptors = processes.recv_fds(connection, MESSAGE_BYTES, MESSAGE_DESCRIPTORS)
        return (json.loads(data), descriptors) if data else None

    def _change(self, plan: dict[str, object], descriptors: list[int]) -> None:
        opened, closed = plan["open"], plan["close"]
        if not isinstance(opened, list) or not isinstance(closed, list):
            raise ValueError("no plan")
        self.close([(protocol, host, port) for protocol, host, port in closed])
        pipe = descriptors.pop() if plan["redirected"] else None
        self.open([(socket.socket(fileno=fd), protocol, port) for fd, (protocol, port) in zip(descriptors, opened, strict=True)])
        if plan["last"]:
            self.redirect(pipe)
        address = plan["address"]
        if isinstance(address, str) and not self.entered:
            self._move(address)

    def _move(self, address: str) -> None:
        """Lead new connections to where the container is now."""
        self.address = address
        for port in self.ports.values():
            port.move(address)

    def serve(self, alive: int, control: socket.socket | None) -> None:
        """Carry bytes until the process behind the descriptor ``alive`` has ended."""

        def ended(_events: int) -> None:
            self.loop.running = False

        self.loop.watch(alive, selectors.EVENT_READ, ended)
        if control is not None:
            self.loop.watch(control, selectors.EVENT_READ, lambda _events: self.obey(control))
        self.loop.run(self._next_sweep)

    def _next_sweep(self) -> float | None:
        return min((due for port in self.ports.values() if (due := port.sweep()) is not None), default=None)


def listen(directory: int) -> socket.socket:
    """Return the control socket in the directory behind the descriptor, which nobody but its owner can enter."""
    path = f"/proc/self/fd/{directory}/{CONTROL}"  # by the descriptor: a path may be longer than a socket address
    with suppress(FileNotFoundError):
        os.unlink(path)  # of an earlier life of the container
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.bind(path)
    control.listen()
    os.close(directory)
    return control


def main(text: str) -> None:
    """Read the plan, prepare, leave the starter's side, say "ready <pid>" (or "failed <why>") on standard output, and serve."""
    plan = json.loads(text)
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as name:
            name.write("nbc-forward")
        control = listen(plan["control"]) if plan["control"] is not None else None
        source = None if plan["address"] else enter(plan["pid"], plan["pidfd"])
        os.close(plan["pidfd"])
        drop_privileges()
    except OSError as err:
        sys.stdout.write(f"failed {err.strerror or err}\n")
        return
    if os.fork():  # the starter reaps this process at once, and init the one that stays: no zombie in a notebook that runs for weeks
        os._exit(0)
    forwarder = Forwarder(Loop(), plan["address"] or "127.0.0.1", source, entered=not plan["address"])
    forwarder.open([(socket.socket(fileno=fd), protocol, port) for fd, protocol, port in plan["listeners"]])
    forwarder.redirect(plan["redirection"])
    os.write(1, f"ready {os.getpid()}\n".encode())
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
    forwarder.serve(plan["alive"], control)

"""Who plays on a test's stage: stand-ins for containers and LAN machines, in network namespaces of their own, and what they say."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from notebook_containers.linux import syscalls
from notebook_containers.linux.netlink import NetlinkSocket, in_network_namespace
from notebook_containers.network import links
from notebook_containers.network.config import NetworkConfig
from notebook_containers.network.ipam import link_name
from tests.needs import need

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
_HOLD = """
import os, sys
sys.path.append(sys.argv[1])
from notebook_containers.linux import syscalls
syscalls.unshare(int(sys.argv[2]))
print("there", flush=True)
sys.stdin.read()
"""


class Place:
    """A process in a network namespace of its own: a stand-in for a container, or for a machine on the LAN."""

    def __init__(self, flags: int = syscalls.CLONE_NEWNET) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _HOLD, str(ROOT), str(flags)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"there\n"
        self.pid = self.process.pid
        self.attendants: list[int] = []  # processes that should end with this one
        self.namespace = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        self.run(loopback_up)

    def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` inside, in a thread of the test."""
        return in_network_namespace(self.namespace, work)

    def end(self) -> None:
        """End the process and give its namespace up."""
        if self.process.returncode is None:
            self.process.communicate()
            os.close(self.namespace)
        for pid in self.attendants:
            assert ends(pid), f"process {pid} outlived its container"

    def reaches(self, address: str, port: int) -> bool:
        """Return whether a tcp connection from inside comes about."""
        return self.run(lambda: reaches(address, port))

    def blocked(self, address: str, port: int) -> bool:
        """Return whether no tcp connection from inside comes about, dropped or refused."""
        return self.run(lambda: not reaches(address, port, timeout_s=0.4))

    @contextmanager
    def listening(self, address: str = "0.0.0.0", port: int = 0) -> Iterator[int]:
        """Answer tcp connections inside with "hello from <peer address>", then echo until the end."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with serving(self.run(lambda: socket.create_server((address, port), family=family))) as number:
            yield number


def ends(pid: int, timeout_s: float = 5) -> bool:
    """Wait for the end of a process that is nobody's child here."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], timeout_s)[0])
    finally:
        os.close(pidfd)


def program(*words: str) -> str:
    """Run a program that the package itself never needs (ip, nft: an independent witness) and return what it says; skip without it."""
    need(shutil.which(words[0]), words[0])
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def loopback_up() -> None:
    with NetlinkSocket() as kernel:
        kernel.execute([links.set_link(1)])


def reaches(address: str, port: int, *, timeout_s: float = 3) -> bool:
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as connection:
            return connection.recv(5) == b"hello"
    except OSError:
        return False


def ask(address: str, port: int, data: bytes = b"") -> bytes:
    """Send, half-close, and return everything that comes back."""
    with socket.create_connection((address, port), timeout=5) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def serving(listener: socket.socket) -> Iterator[int]:
    def answer(connection: socket.socket, peer: str) -> None:
        with connection, suppress(OSError):
            connection.sendall(f"hello from {peer} ".encode())
            while data := connection.recv(65536):
                connection.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, peer = listener.accept()
                threading.Thread(target=answer, args=(connection, peer[0]), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def wire(peer: Place, name: str, here: str, there: str, subnet: str) -> None:
    """Lay a cable (a veth pair) from here to the other place."""
    program("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(peer.pid))
    with NetlinkSocket() as kernel:
        index = link(kernel, name).index
        kernel.execute([links.set_link(index), links.add_address(index, here, subnet)])

    def inside() -> None:
        with NetlinkSocket() as kernel:
            index = link(kernel, "eth0").index
            kernel.execute([links.set_link(index), links.add_address(index, there, subnet)])

    peer.run(inside)


def link(kernel: NetlinkSocket, name: str) -> links.Link:
    found = links.find_link(kernel, name)
    assert found is not None, f"no link {name}"
    return found


def network(number: int = 1, *, internal: bool = False) -> NetworkConfig:
    """A network 10.133.<number>.0/24."""
    identity = f"{number:08x}" * 8
    return NetworkConfig(
        id=identity,
        name=f"net{number}",
        subnet=f"10.133.{number}.0/24",
        gateway=f"10.133.{number}.1",
        link=link_name(identity),
        internal=internal,
    )


def ip_forward() -> str:
    """Return whether the host forwards, as the kernel says it."""
    with open("/proc/sys/net/ipv4/ip_forward") as file:
        return file.read().strip()

"""A machine for each test: a network namespace plays the host, others containers and the LAN. Nothing outside is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from notebook_containers.linux import syscalls
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import links
from tests.needs import need
from tests.network.stage import Place, link, loopback_up, wire


@pytest.fixture
def machine() -> Iterator[None]:
    """Put the test's thread into a fresh network namespace that plays the host."""
    need(os.geteuid() == 0, "root")
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    loopback_up()
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write("0")  # a new namespace starts with what the machine has
    try:
        yield
    finally:
        syscalls.setns(before, syscalls.CLONE_NEWNET)
        os.close(before)


@pytest.fixture
def place(machine: None) -> Iterator[Callable[[], Place]]:
    """Make stand-ins that end with the test."""
    made: list[Place] = []

    def make() -> Place:
        made.append(Place())
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def lan(place: Callable[[], Place]) -> Place:
    """A machine on the host's LAN: 198.51.100.1 is the host there, 198.51.100.2 the other; the host's default route goes that way."""
    peer = place()
    wire(peer, "lan0", "198.51.100.1", "198.51.100.2", "198.51.100.0/24")
    with NetlinkSocket() as kernel:
        index = link(kernel, "lan0").index
        kernel.execute([links.set_default_route(index, "198.51.100.2")])
    return peer

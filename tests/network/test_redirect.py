"""Published ports by the kernel's own way: the client's address is kept, nothing stays when the port goes, loopback is the forwarder's."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from notebook_containers.linux.netlink import NETLINK_NETFILTER, NetlinkSocket
from notebook_containers.network import bridge, conntrack, nftables, ports, redirect
from tests.network.stage import Place, ask, network, program, reaches

pytestmark = [pytest.mark.root, pytest.mark.netns]
Make = Callable[[], Place]
HOST = "198.51.100.1"


def joined(place: Place, last: int = 2) -> str:
    bridge.ensure(network())
    return bridge.attach(network(), pid=place.pid, container_id=f"c{place.pid}", address=f"10.133.1.{last}").address


@contextmanager
def redirected(address: str, *texts: str) -> Iterator[None]:
    pipe = redirect.start(address, [mapping for text in texts for mapping in ports.parse(text)])
    try:
        yield
    finally:
        os.close(pipe)
        settled(lambda: not own_tables())


def own_tables() -> list[str]:
    with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
        return sorted({chain.table for chain in nftables.base_chains(netfilter) if chain.table.startswith("notebook_containers_ports")})


def settled(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def echoing(place: Place, port: int) -> Iterator[None]:
    """Answer udp datagrams inside with the address that they came from."""
    server = place.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind(("0.0.0.0", port))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = server.recvfrom(100)
                if data == b"end":
                    return
                server.sendto(peer[0].encode(), peer)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        place.run(lambda: _end(port))
        thread.join(30)
        server.close()


def _end(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"end", ("127.0.0.1", port))


def test_net10_the_client_of_a_published_port_is_seen_as_itself(lan: Place, place: Make) -> None:
    container = place()
    address = joined(container)
    with container.listening(port=80), redirected(address, "0.0.0.0:8080:80"):
        assert lan.run(lambda: ask(HOST, 8080)) == b"hello from 198.51.100.2 "
        assert ask(HOST, 8080) == f"hello from {HOST} ".encode(), "from this machine, to its address on the LAN"
        assert not reaches("127.0.0.1", 8080), "loopback is the forwarder's"
    assert lan.blocked(HOST, 8080)


def test_a_port_of_one_address_is_that_addresss_alone(lan: Place, place: Make) -> None:
    container = place()
    address = joined(container)
    with container.listening(port=80), redirected(address, f"{HOST}:8080:80"):
        assert lan.reaches(HOST, 8080)
        assert lan.run(lambda: not reaches("10.133.1.1", 8080, timeout_s=0.4))


def test_a_container_does_not_reach_a_port_published_on_this_machine(lan: Place, place: Make) -> None:
    server, other = place(), place()
    address = joined(server)
    joined(other, 3)
    with server.listening(port=80), redirected(address, "0.0.0.0:8080:80"):
        assert other.reaches(address, 80)
        assert other.blocked(HOST, 8080)
        assert other.blocked("10.133.1.1", 8080)


def test_net08_redirections_outlast_a_flush_by_others(lan: Place, place: Make) -> None:
    container = place()
    address = joined(container)
    with container.listening(port=80), redirected(address, "0.0.0.0:8080:80"):
        program("nft", "flush", "ruleset")
        bridge.ensure(network())
        assert lan.run(lambda: ask(HOST, 8080)) == b"hello from 198.51.100.2 "


def test_net13_a_udp_flow_does_not_outlive_its_port(lan: Place, place: Make) -> None:
    first, second = place(), place()
    here, there = joined(first), joined(second, 3)
    client = lan.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.settimeout(10)
    client.bind(("198.51.100.2", 5353))
    with client, echoing(first, 53), echoing(second, 53):
        with redirected(here, "0.0.0.0:5300:53/udp"):
            client.sendto(b"one", (HOST, 5300))
            assert client.recv(100) == b"198.51.100.2"
            assert [flow.server for flow in conntrack.flows() if flow.port == 5300] == [here]
        settled(lambda: not [flow for flow in conntrack.flows() if flow.server == here and flow.port == 5300])
        with redirected(there, "0.0.0.0:5300:53/udp"):
            client.sendto(b"two", (HOST, 5300))
            assert client.recv(100) == b"198.51.100.2"
            assert [flow.server for flow in conntrack.flows() if flow.port == 5300] == [there]


def test_net13_a_client_that_went_on_sending_meets_the_new_container(lan: Place, place: Make) -> None:
    """What it sent while nobody had the port is remembered by the kernel as meant for this machine."""
    there = joined(place())
    client = lan.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.settimeout(10)
    client.bind(("198.51.100.2", 5353))
    with client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("0.0.0.0", 5300))
        client.sendto(b"lost", (HOST, 5300))
        settled(lambda: bool([flow for flow in conntrack.flows() if flow.port == 5300]))
        with redirected(there, "0.0.0.0:5300:53/udp"):
            client.sendto(b"two", (HOST, 5300))
            settled(lambda: bool([flow for flow in conntrack.flows() if flow.port == 5300]))
            assert [flow.server for flow in conntrack.flows() if flow.port == 5300] == [there]


def test_a_thousand_ports_are_one_transaction(lan: Place, place: Make) -> None:
    container = place()
    address = joined(container)
    with container.listening(port=3999), redirected(address, "0.0.0.0:30000-30999:3000-3999"):
        assert lan.reaches(HOST, 30999)
        assert len(own_tables()) == 1


def test_nobody_else_can_take_the_rules_away(lan: Place, place: Make) -> None:
    address = joined(place())
    with redirected(address, "0.0.0.0:8080:80"):
        (name,) = own_tables()
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter, pytest.raises(PermissionError):
            nftables.commit(netfilter, [nftables.delete_table(name)], expected=nftables.generation(netfilter))

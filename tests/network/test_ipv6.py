"""IPv6 networks, and bridges whose containers are kept apart: the same walls as for IPv4."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from notebook_containers.lean import replace
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import bridge, links
from notebook_containers.network.config import NetworkConfig
from tests.network.stage import Place, link, network, reaches, serving

pytestmark = [pytest.mark.root, pytest.mark.netns]
Make = Callable[[], Place]


def six(number: int = 1, *, internal: bool = False, icc: bool = True, masquerade: bool = True) -> NetworkConfig:
    base = f"fd00:{number}::"
    return replace(network(number, internal=internal), subnet6=f"{base}/64", gateway6=f"{base}1", icc=icc, masquerade=masquerade)


def joined(place: Place, config: NetworkConfig, last: int = 2) -> str:
    """Put a place into a network and return its IPv6 address."""
    bridge.ensure(config)
    address, address6 = config.gateway.removesuffix("1") + str(last), config.gateway6.removesuffix("1") + str(last)
    found = bridge.attach(config, pid=place.pid, container_id=f"c{place.pid}", address=address, address6=address6)
    assert found.address6 == address6
    return address6


@pytest.fixture
def lan6(lan: Place) -> Place:
    """The machine on the LAN has IPv6 too: 2001:db8::1 is the host there, 2001:db8::2 the other, and the host's way out."""

    def address(name: str, text: str) -> None:
        with NetlinkSocket() as kernel:
            kernel.execute([links.add_address(link(kernel, name).index, text, "2001:db8::/64")])

    address("lan0", "2001:db8::1")
    lan.run(lambda: address("eth0", "2001:db8::2"))
    with NetlinkSocket() as kernel:
        kernel.execute([links.set_default_route(link(kernel, "lan0").index, "2001:db8::2")])
    return lan


def test_outward_traffic_carries_the_hosts_address_and_answers_come(lan6: Place, place: Make) -> None:
    container = place()
    joined(container, six())
    with lan6.listening("2001:db8::2") as port:

        def greeting() -> bytes:
            with socket.create_connection(("2001:db8::2", port), timeout=5) as connection:
                return connection.recv(100)

        assert container.run(greeting) == b"hello from 2001:db8::1 "


def test_net02_net03_net05_nobody_else_is_reached_by_ipv6_either(lan6: Place, place: Make) -> None:
    first, second = place(), place()
    joined(first, six(1))
    address = joined(second, six(2))
    with second.listening("::") as port:
        assert reaches(address, port)
        assert first.blocked(address, port)
        lan6.run(lambda: _route("fd00:2::2", "2001:db8::1"))
        assert lan6.blocked(address, port)
    with serving(socket.create_server(("::", 0), family=socket.AF_INET6)) as port:
        assert lan6.reaches("2001:db8::1", port)
        for host in ("fd00:1::1", "2001:db8::1"):
            assert first.blocked(host, port)


def _route(destination: str, gateway: str) -> None:
    with NetlinkSocket() as kernel:
        kernel.execute([links.set_default_route(link(kernel, "eth0").index, gateway)])
    del destination


def test_net04_net07_metadata_and_internal_networks_by_ipv6(lan6: Place, place: Make) -> None:
    outer, inner, beside = place(), place(), place()
    joined(outer, six(1))
    joined(inner, six(2, internal=True))
    address = joined(beside, six(2, internal=True), 3)

    def metadata() -> None:
        with NetlinkSocket() as kernel:
            kernel.execute([links.add_address(link(kernel, "lo").index, "fd00:ec2::254", "fd00:ec2::254/128")])

    lan6.run(metadata)
    with lan6.listening("fd00:ec2::254", 80):
        assert reaches("fd00:ec2::254", 80)
        assert outer.blocked("fd00:ec2::254", 80)
    with lan6.listening("2001:db8::2") as port, beside.listening("::") as near:
        assert outer.reaches("2001:db8::2", port)
        assert inner.blocked("2001:db8::2", port)
        assert inner.reaches(address, near)


@pytest.mark.parametrize("config", [six(icc=False), network()])
def test_net05_containers_of_one_network_are_kept_apart_when_asked(place: Make, config: NetworkConfig) -> None:
    config = replace(config, icc=False)
    first, second = place(), place()
    bridge.ensure(config)
    bridge.attach(config, pid=first.pid, container_id="one", address="10.133.1.2")
    bridge.attach(config, pid=second.pid, container_id="two", address="10.133.1.3")
    with second.listening() as port:
        assert reaches("10.133.1.3", port)
        assert first.blocked("10.133.1.3", port)

        def around() -> None:
            with NetlinkSocket() as kernel:
                inside = link(kernel, "eth0").index
                kernel.execute([links.add_address(inside, "10.133.1.2", "10.133.1.2/32"), links.set_default_route(inside, "10.133.1.1")])

        first.run(around)  # by the gateway, which would send it back where it came from
        assert first.blocked("10.133.1.3", port)


def test_the_host_s_forwarding_is_as_it_was_after_the_last_network(machine: None) -> None:
    bridge.ensure(six())
    bridge.ensure(six(2))
    assert _forwarding() == "1"
    bridge.remove(six(2))
    assert _forwarding() == "1"
    bridge.remove(six())
    assert _forwarding() == "0"


def _forwarding() -> str:
    with open("/proc/sys/net/ipv6/conf/all/forwarding") as file:
        return file.read().strip()

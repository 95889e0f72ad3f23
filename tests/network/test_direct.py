"""Containers whose link is a piece of one of the machine's: the LAN sees them as machines of its own."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable

import pytest

from notebook_containers.errors import NetworkError, Unsupported
from notebook_containers.lean import replace
from notebook_containers.network import direct
from notebook_containers.network.config import NetworkConfig
from tests.network.stage import Place, network, program, serving

pytestmark = [pytest.mark.root, pytest.mark.netns]
Make = Callable[[], Place]
LAN = replace(network(), driver="macvlan", subnet="198.51.100.0/24", gateway="198.51.100.2", parent="lan0", mode="bridge")


def joined(place: Place, config: NetworkConfig, last: int) -> str:
    direct.ensure(config)
    direct.attach(config, pid=place.pid, address=f"198.51.100.{last}")
    return f"198.51.100.{last}"


def test_a_macvlan_container_is_a_machine_on_the_lan(lan: Place, place: Make) -> None:
    first, second = place(), place()
    address, other = joined(first, LAN, 9), joined(second, LAN, 10)
    with first.listening() as port:
        assert lan.reaches(address, port)
        assert second.reaches(address, port)
    with lan.listening() as port, lan.listening("198.51.100.2") as another:
        assert first.reaches("198.51.100.2", port)

        def greeting() -> bytes:
            with socket.create_connection(("198.51.100.2", another), timeout=5) as connection:
                return connection.recv(100)

        assert second.run(greeting) == f"hello from {other} ".encode()
    direct.detach(LAN, pid=first.pid, interface="eth0")
    direct.detach(LAN, pid=first.pid, interface="eth0")
    with lan.listening() as port:
        assert first.blocked("198.51.100.2", port)


def test_net03_net04_a_macvlan_container_reaches_neither_this_machine_nor_metadata(lan: Place, place: Make) -> None:
    container = place()
    joined(container, LAN, 9)
    with serving(socket.create_server(("0.0.0.0", 0))) as port:
        assert lan.reaches("198.51.100.1", port)
        assert container.blocked("198.51.100.1", port)

    def metadata() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect(("169.254.169.254", 80))
            except OSError as err:
                return err.strerror or ""
            return ""

    assert container.run(metadata)


def test_an_ipvlan_container_is_on_the_lan_where_the_kernel_has_it(lan: Place, place: Make) -> None:
    container = place()
    config = replace(LAN, driver="ipvlan", mode="l2")
    if not kernel_has_ipvlan():
        with pytest.raises(Unsupported, match="this kernel has no ipvlan links"):
            joined(container, config, 9)
        return
    address = joined(container, config, 9)
    with container.listening() as port:
        assert lan.reaches(address, port)


def kernel_has_ipvlan() -> bool:
    words = ["ip", "link", "add", "link", "lan0", "name", "probe", "type", "ipvlan", "mode", "l2"]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        return False
    program("ip", "link", "delete", "probe")
    return True


def test_a_parent_that_is_not_there_is_named(machine: None) -> None:
    with pytest.raises(NetworkError, match="parent lan7"):
        direct.ensure(replace(LAN, parent="lan7"))

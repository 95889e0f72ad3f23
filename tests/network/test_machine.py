"""Routes of the machine, also inside a running event loop (a notebook cell)."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import links, machine
from tests.network.stage import link


def test_routes_are_read_inside_a_running_loop_too() -> None:
    async def cell() -> list[str]:
        return machine.host_routes()

    found = asyncio.run(cell())
    assert found == machine.host_routes()
    assert all(ipaddress.ip_network(route).prefixlen for route in found)


def test_a_subnet_that_the_machine_routes_is_taken() -> None:
    networks = [ipaddress.ip_network(route) for route in machine.host_routes()]
    for network in networks:
        if network.prefixlen < 32 and not network.is_loopback:
            assert machine.taken(str(network))
    assert not machine.taken("198.51.100.0/24")


@pytest.mark.usefixtures("lan")
def test_the_machine_s_own_addresses_and_closed_ones_are_told_and_the_default_is_not() -> None:
    with NetlinkSocket() as kernel:
        index = link(kernel, "lan0").index
        kernel.execute([links.add_address(index, "203.0.113.7", "203.0.113.7/32"), links.close_address("203.0.113.99")])
    assert {"198.51.100.0/24", "203.0.113.7/32", "203.0.113.99/32"} <= set(machine.host_routes())
    assert not any(route.endswith("/0") for route in machine.host_routes())

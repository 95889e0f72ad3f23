"""Routes of the machine, as pyroute2 reads them, also inside a running event loop (a notebook cell)."""

from __future__ import annotations

import asyncio
import ipaddress

from notebook_containers.network import machine


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

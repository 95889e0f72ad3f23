from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from notebook_containers.errors import Conflict, NetworkError
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import bridge, links
from tests.network.stage import Place, ip_forward, link, network, program, reaches

pytestmark = [pytest.mark.root, pytest.mark.netns]
Make = Callable[[], Place]


def names() -> set[str]:
    with NetlinkSocket() as kernel:
        return {one.name for one in links.all_links(kernel)}


def attach(place: Place, number: int = 1, last: int = 2, *, internal: bool = False) -> str:
    config = network(number, internal=internal)
    bridge.ensure(config)
    return bridge.attach(config, pid=place.pid, container_id=f"c{place.pid}", address=f"10.133.{number}.{last}").address


def test_host_and_container_reach_each_other(place: Make) -> None:
    container = place()
    address = attach(container)
    with container.listening() as port:
        assert reaches(address, port)


def test_endpoint_says_what_is_inside(place: Make) -> None:
    container, config = place(), network()
    bridge.ensure(config)
    endpoint = bridge.attach(config, pid=container.pid, container_id="abc", address="10.133.1.7", interface="eth3")
    assert endpoint.to_json() == {
        "network": "net1",
        "interface": "eth3",
        "link": bridge.port_name(config, "abc"),
        "address": "10.133.1.7",
        "prefix_length": 24,
        "gateway": "10.133.1.1",
        "mac": "02:6e:0a:85:01:07",
    }
    with NetlinkSocket() as kernel:
        port = link(kernel, endpoint.link)
        assert port.master == link(kernel, config.link).index

    def inside() -> tuple[links.Link, list[str], list[links.Route]]:
        with NetlinkSocket() as kernel:
            found = link(kernel, "eth3")
            return found, links.addresses_of(kernel, found.index), links.all_routes(kernel)

    found, addresses, routes = container.run(inside)
    assert (found.mac, found.up, addresses) == (endpoint.mac, True, ["10.133.1.7/24"])
    assert "0.0.0.0/0" in {route.destination for route in routes}
    listing = program("ip", "-6", "addr", "show", "dev", endpoint.link)
    assert "inet6" not in listing


def test_two_containers_of_a_network_reach_each_other(place: Make) -> None:
    first, second = place(), place()
    attach(first)
    address = attach(second, last=3)
    with second.listening() as port:
        assert first.reaches(address, port)


def test_internal_network_has_no_way_out_and_forwarding_stays_off(place: Make) -> None:
    container = place()
    attach(container, internal=True)
    assert ip_forward() == "0"

    def routes() -> list[links.Route]:
        with NetlinkSocket() as kernel:
            return links.all_routes(kernel)

    assert {route.destination for route in container.run(routes)} == {"10.133.1.0/24"}


def test_second_network_keeps_the_first_ones_route(place: Make) -> None:
    container = place()
    attach(container, 1)
    config = network(2)
    bridge.ensure(config)
    bridge.attach(config, pid=container.pid, container_id="x", address="10.133.2.2", interface="eth1", way_out=False)

    def gateways() -> list[str]:
        with NetlinkSocket() as kernel:
            index = link(kernel, "eth0").index
            return [r.destination for r in links.all_routes(kernel) if r.link == index]

    assert sorted(container.run(gateways)) == ["0.0.0.0/0", "10.133.1.0/24"]


def test_ensure_twice_changes_nothing_and_repairs_what_was_removed(machine: None) -> None:
    config = network()
    bridge.ensure(config)
    before = program("ip", "-o", "addr")
    bridge.ensure(config)
    assert program("ip", "-o", "addr") == before
    program("ip", "addr", "flush", "dev", config.link)
    program("ip", "link", "set", config.link, "down")
    bridge.ensure(config)
    with NetlinkSocket() as kernel:
        found = link(kernel, config.link)
        assert found.up
        assert links.addresses_of(kernel, found.index) == ["10.133.1.1/24"]


def test_net12_a_foreign_link_of_that_name_is_left_alone(machine: None) -> None:
    config = network()
    program("ip", "link", "add", config.link, "type", "bridge")
    for verb in (bridge.ensure, bridge.remove):
        with pytest.raises(Conflict, match=config.link):
            verb(config)
    assert config.link in names()


def test_net12_a_routed_subnet_is_refused_and_nothing_is_made(machine: None) -> None:
    bridge.ensure(network(1))
    before = names()
    other = replace(network(2), subnet="10.133.0.0/16", gateway="10.133.0.1")
    with pytest.raises(Conflict, match=r"overlaps the route to 10\.133\.1\.0/24"):
        bridge.ensure(other)
    assert names() == before


def test_many_processes_may_ensure_at_once(machine: None) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            bridge.ensure(network(number))
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3, 4) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert bridge.own_links() == [network(n).link for n in (1, 2, 3, 4)]
    listing = program("nft", "list", "set", "inet", "notebook_containers", "bridges")
    assert all(f'"{network(n).link}"' in listing for n in (1, 2, 3, 4))
    for number in (1, 2, 3, 4):
        bridge.remove(network(number))
    assert ip_forward() == "0"


def test_removal_leaves_nothing_and_restores_forwarding(place: Make) -> None:
    before, container = names(), place()
    assert ip_forward() == "0"
    attach(container, 1)
    bridge.ensure(network(2))
    assert ip_forward() == "1"
    bridge.remove(network(1))
    assert ip_forward() == "1"
    bridge.remove(network(2))
    assert ip_forward() == "0"
    container.end()
    assert ended(lambda: names() == before)
    bridge.remove(network(2))


def test_forwarding_that_was_on_stays_on(machine: None) -> None:
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write("1")
    bridge.ensure(network())
    bridge.remove(network())
    assert ip_forward() == "1"


def test_forwarding_stays_on_while_another_engines_bridge_is_there(machine: None) -> None:
    bridge.ensure(network())
    program("ip", "link", "add", "docker0", "type", "bridge")
    bridge.remove(network())
    assert ip_forward() == "1"


def test_the_hosts_end_goes_with_the_container(place: Make) -> None:
    container = place()
    attach(container)
    port = bridge.port_name(network(), f"c{container.pid}")
    assert port in names()
    container.end()
    assert ended(lambda: port not in names())


def test_detach_takes_the_container_out(place: Make) -> None:
    container = place()
    attach(container)
    bridge.detach(network(), container_id=f"c{container.pid}")
    bridge.detach(network(), container_id=f"c{container.pid}")
    assert names() == {"lo", network().link}


def test_a_failed_attach_leaves_nothing(place: Make) -> None:
    container, config = place(), network()
    bridge.ensure(config)
    before = names()
    with pytest.raises(NetworkError, match="add the route to"):
        bridge.attach(
            replace(config, gateway="192.0.2.1"), pid=container.pid, container_id="x", address="10.133.1.2", mac="02:00:00:00:00:09"
        )
    assert names() == before


def test_a_taken_interface_name_is_named(place: Make) -> None:
    container, config = place(), network()
    attach(container)
    with pytest.raises(NetworkError, match="exists"):
        bridge.attach(config, pid=container.pid, container_id="other", address="10.133.1.9")


def test_the_hosts_own_namespace_is_never_attached(machine: None) -> None:
    bridge.ensure(network())
    with pytest.raises(NetworkError, match="no network namespace of its own"):
        bridge.attach(network(), pid=os.getpid(), container_id="x", address="10.133.1.2")


def test_a_process_that_is_gone_is_named(place: Make) -> None:
    container = place()
    bridge.ensure(network())
    container.end()
    with pytest.raises(NetworkError, match=f"process {container.pid} has ended"):
        bridge.attach(network(), pid=container.pid, container_id="x", address="10.133.1.2")


def test_it_works_where_an_event_loop_runs_as_in_a_notebook(place: Make) -> None:
    container = place()

    async def cell() -> None:
        attach(container)

    asyncio.run(cell())


def ended(done: Callable[[], bool]) -> bool:
    """Wait for what the kernel does behind our back (it sweeps up dead namespaces in a worker)."""
    deadline = time.monotonic() + 5
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    return done()

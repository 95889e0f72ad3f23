"""User-defined networks: made with their options, joined and left by containers that run, several at once."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.keywords import EndpointKeywords
from notebook_containers.errors import Conflict, InvalidArgument, NetworkNotFound
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import ipam, links, machine, owned
from tests.engine.test_publishing import settled
from tests.home import BASE, Home

pytestmark = [pytest.mark.root, pytest.mark.netns]


@pytest.fixture
def web(engine: Engine) -> Iterator[str]:
    """A network that is gone after the test."""
    yield engine.networks.create("web").name
    gone(engine, "web")


@pytest.fixture
def data(engine: Engine) -> Iterator[str]:
    yield engine.networks.create("data").name
    gone(engine, "data")


def gone(engine: Engine, name: str) -> None:
    for container in engine.containers.list(all=True):
        container.remove(force=True)
    engine.networks.remove(name)


def sleeping(engine: Engine, network: str, places: Mapping[str, EndpointKeywords | None] | None = None) -> Container:
    found = engine.containers.run(BASE, "sleep 1000", detach=True, stop_timeout=0, network=network, networking_config=places)
    assert isinstance(found, Container)
    return found


def inside(container: Container, script: str) -> str:
    result = container.exec_run(["sh", "-c", script])
    assert isinstance(result.output, bytes)
    return result.output.decode()


def addresses(container: Container) -> dict[str, str]:
    """Return interface → address as the container's own kernel view has it."""
    lines = inside(container, "ip -o -4 addr show scope global").splitlines()
    return {line.split()[1]: line.split()[3] for line in lines}


def way_out(container: Container) -> list[str]:
    return [line.split()[2] for line in inside(container, "ip -4 route").splitlines() if line.startswith("default")]


def test_every_option_of_a_network_is_kept_and_shown(engine: Engine) -> None:
    subnet = ipam.choose_subnet([], [*machine.host_routes(), "10.133.0.0/17"])
    base = subnet.rpartition(".")[0]
    network = engine.networks.create(
        "web",
        ipam={"Config": [{"Subnet": subnet, "Gateway": f"{base}.9", "IPRange": f"{base}.128/25"}]},
        aux_addresses={"printer": f"{base}.128"},
        labels={"stage": "test"},
        attachable=True,
    )
    try:
        first = sleeping(engine, "web")
        assert addresses(first) == {"eth0": f"{base}.129/24"}
        assert way_out(first) == [f"{base}.9"]
        shown = network.attrs
        assert (shown["Name"], shown["Id"], shown["Driver"], shown["Scope"]) == ("web", network.id, "bridge", "local")
        assert (shown["Internal"], shown["Attachable"], shown["Labels"]) == (False, True, {"stage": "test"})
        pool = {"Subnet": subnet, "Gateway": f"{base}.9", "IPRange": f"{base}.128/25", "AuxiliaryAddresses": {"printer": f"{base}.128"}}
        assert shown["IPAM"] == {"Driver": "default", "Options": {}, "Config": [pool]}
        inner = first.attrs["NetworkSettings"]
        assert isinstance(inner, dict)
        assert isinstance(inner["Networks"], dict)
        place = inner["Networks"]["web"]
        assert isinstance(place, dict)
        member = {"Name": first.name, "EndpointID": place["EndpointID"], "MacAddress": place["MacAddress"]}
        assert shown["Containers"] == {first.id: {**member, "IPv4Address": f"{base}.129/24", "IPv6Address": ""}}
        with pytest.raises(Conflict, match="overlaps"):
            engine.networks.create("other", subnet=subnet)
        assert [n.name for n in engine.networks.list(filters={"label": "stage=test"})] == ["web"]
        assert [n.name for n in engine.networks.list(filters={"type": "builtin"})] == ["bridge", "host", "none"]
    finally:
        gone(engine, "web")


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ({"Gateway": "10.9.0.1"}, "needs the --subnet"),
        ({"Subnet": "10.9.0.0/24", "Gateway": "10.8.0.1"}, "no host of"),
        ({"Subnet": "10.9.0.0/24", "IPRange": "10.8.0.0/25"}, "no part of"),
        ({"Subnet": "10.9.0.1/24"}, "no subnet"),
        ({"Subnet": ["10.9.0.0/24", "10.8.0.0/24"]}, "one subnet"),
        ({"Subnet": "127.0.0.0/24"}, "cannot hold containers"),
        ({"Subnets": "10.9.0.0/24"}, "not understood"),
        ({"Subnet": "10.9.0.0/24", "AuxiliaryAddresses": {"printer": ""}}, "'printer' has no address"),
        ({"Subnet": "10.9.0.0/24", "AuxiliaryAddresses": "printer"}, "'printer' has no address"),
    ],
)
def test_options_that_contradict_are_refused_and_nothing_is_made(engine: Engine, pool: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        engine.networks.create("web", ipam={"Config": [pool]})
    with pytest.raises(NetworkNotFound):
        engine.networks.get("web")


def test_several_networks_from_the_start_and_the_rank_of_their_gateways(engine: Engine, web: str, data: str) -> None:
    both = sleeping(engine, web, {web: None, data: {"gw_priority": 5}})
    assert set(addresses(both)) == {"eth0", "eth1"}
    assert way_out(both) == [engine.networks.get(data).gateway]
    assert both.networks == [web, data]
    hosts = inside(both, "cat /etc/hosts")
    assert all(f"{address.partition('/')[0]}\t{both.document.hostname}\n" in hosts for address in addresses(both).values())


def test_a_running_container_joins_and_leaves(engine: Engine, web: str, data: str) -> None:
    container = sleeping(engine, web)
    base = engine.networks.get(data).gateway.rpartition(".")[0]
    engine.networks.get(data).connect(container, aliases=["db"], ipv4_address=f"{base}.77", gw_priority=1, mac_address="02:00:00:00:00:07")
    container.reload()
    assert addresses(container)["eth1"] == f"{base}.77/24"
    assert "02:00:00:00:00:07" in inside(container, "cat /sys/class/net/eth1/address")
    assert way_out(container) == [f"{base}.1"]
    assert f"{base}.77\t{container.document.hostname}" in inside(container, "cat /etc/hosts")
    assert engine.networks.get(data).containers == [container.name]
    names = container.attrs["NetworkSettings"]["Networks"][data]["DNSNames"]  # type: ignore[index, call-overload]
    assert names == [container.name, "db", container.id[:12]]
    with pytest.raises(Conflict, match="already"):
        engine.networks.connect(data, container)

    engine.networks.disconnect(web, container)
    container.reload()
    assert set(addresses(container)) == {"eth1"}
    assert inside(container, "cat /etc/hosts").count(container.document.hostname) == 1

    container.restart(timeout=0)  # what changed while it ran is still so
    container.reload()
    assert addresses(container) == {"eth0": f"{base}.77/24"}

    engine.networks.disconnect(data, container)
    container.reload()
    assert (addresses(container), way_out(container)) == ({}, [])
    with pytest.raises(Conflict, match="is not in network"):
        engine.networks.disconnect(data, container)
    engine.networks.disconnect(data, container, force=True)
    engine.networks.connect(web, container)
    assert way_out(container) == [engine.networks.get(web).gateway]


def test_a_container_that_does_not_run_joins_at_its_start(engine: Engine, web: str, data: str) -> None:
    container = engine.containers.create(BASE, "sleep 1000", network=web, stop_timeout=0)
    engine.networks.connect(data, container)
    container.reload()
    container.start()
    assert set(addresses(container)) == {"eth0", "eth1"}


def test_a_taken_address_is_refused_and_nothing_changes(engine: Engine, web: str, data: str) -> None:
    first, second = sleeping(engine, web), sleeping(engine, data)
    taken = addresses(first)["eth0"].partition("/")[0]
    with pytest.raises(Conflict, match=f"address {taken} is taken"):
        engine.networks.connect(web, second, ipv4_address=taken)
    second.reload()
    assert second.networks == [data]
    assert set(addresses(second)) == {"eth0"}
    engine.networks.connect(web, second)


def test_who_has_no_network_of_its_own_cannot_join(engine: Engine, web: str) -> None:
    container = sleeping(engine, "none")
    with pytest.raises(Conflict, match="--network none"):
        engine.networks.connect(web, container)
    for name in ("host", "none"):
        with pytest.raises(Conflict, match=f"network {name} is entered when a container is made"):
            engine.networks.connect(name, container)
    with pytest.raises(InvalidArgument, match="cannot be combined"):
        engine.containers.create(BASE, "true", network="host", networking_config={web: None})
    with pytest.raises(InvalidArgument, match="user-defined networks only"):
        engine.containers.create(BASE, "true", networking_config={"bridge": {"aliases": ["db"]}})
    with pytest.raises(NetworkNotFound):
        engine.containers.create(BASE, "true", network="nowhere")


def test_prune_leaves_the_networks_that_containers_want(engine: Engine, web: str) -> None:
    engine.networks.create("unused", labels={"stage": "test"})
    container = engine.containers.create(BASE, "true", network=web)
    assert engine.networks.prune({"label": ["stage=other"]}) == {"NetworksDeleted": []}
    assert engine.networks.prune() == {"NetworksDeleted": ["unused"]}
    assert container.networks == [web]
    container.remove()


@pytest.mark.parametrize("name", ["localhost", "Host.Docker.Internal", "a\nb", "-a", "gateway.docker.internal"])
def test_net11_a_name_that_is_another_s_is_refused(engine: Engine, web: str, name: str) -> None:
    with pytest.raises(InvalidArgument):
        sleeping(engine, web, {web: {"aliases": [name]}})
    with pytest.raises(InvalidArgument):
        engine.containers.create(BASE, "true", name=name)


def test_ipv6_stands_beside_ipv4(engine: Engine) -> None:
    network = engine.networks.create("web", enable_ipv6=True)
    try:
        pools = network.attrs["IPAM"]
        assert isinstance(pools, dict)
        assert isinstance(pools["Config"], list)
        six = pools["Config"][1]
        assert isinstance(six, dict)
        first, second = sleeping(engine, "web"), sleeping(engine, "web")
        there = second.document.endpoint
        assert there is not None
        assert inside(first, f"ping -6 -c 1 -W 5 {there.address6} >/dev/null 2>&1; ip -6 route | grep -c default") == "1\n"
        assert there.address6 in inside(first, f"nslookup -type=AAAA {second.name}")
        line = f"{there.address6}\t{second.document.hostname}"
        assert line in inside(second, "cat /etc/hosts")
        assert f"via {six['Gateway']} " in inside(first, "ip -6 route")
        wanted = f"{str(six['Subnet']).partition('/')[0]}77"
        third = sleeping(engine, "web", {"web": {"ipv6_address": wanted}})
        assert wanted in inside(third, "ip -6 addr show eth0")
        with pytest.raises(Conflict, match="is taken"):
            sleeping(engine, "web", {"web": {"ipv6_address": wanted}})
    finally:
        gone(engine, "web")


def test_containers_that_are_kept_apart_and_smaller_packets(engine: Engine, data: str) -> None:
    engine.networks.create("web", options={"com.docker.network.bridge.enable_icc": "false", "com.docker.network.driver.mtu": "1400"})
    try:
        asker, together, apart = sleeping(engine, "web", {"web": None, data: None}), serving(engine, data), serving(engine, "web")
        assert inside(asker, "cat /sys/class/net/eth0/mtu") == "1400\n"
        open_one, closed_one = (str(one.document.endpoint and one.document.endpoint.address) for one in (together, apart))
        settled(lambda: fetched(asker, open_one) == "hello\n")  # so the question is one that can be answered
        settled(lambda: from_here(closed_one) == b"hello\n")  # and there is somebody who would answer
        assert fetched(asker, closed_one) == ""
        neighbours = inside(asker, "ip neigh show")
        assert f"{open_one} dev eth1 lladdr" in neighbours
        assert f"{closed_one} dev eth0 lladdr" not in neighbours  # not even its MAC address is told
        stopped = engine.networks.trace(asker.name, f"{closed_one}:80")[-1]
        assert (stopped.hop, stopped.passes) == ("firewall", False)
        assert "network web was made with icc=false" in stopped.detail
        assert engine.networks.get("web").attrs["Options"] == {"icc": "false", "mtu": "1400"}
    finally:
        gone(engine, "web")


def serving(engine: Engine, network: str) -> Container:
    """Start a web server that says hello."""
    script = "mkdir /www; echo hello > /www/index.html; exec busybox httpd -f -p 80 -h /www"
    found = engine.containers.run(BASE, ["sh", "-c", script], detach=True, stop_timeout=0, network=network)
    assert isinstance(found, Container)
    return found


def fetched(container: Container, address: str) -> str:
    """Return what a container gets from the server there within two seconds, nothing when it gets nothing."""
    return inside(container, f"timeout 2 wget -qO- http://{address}/ 2>/dev/null")


def from_here(address: str) -> bytes:
    with suppress(OSError), urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
        said: bytes = answer.read()
        return said
    return b""


def test_net06_who_may_forge_is_walled_in_and_nobody_else(engine: Engine, web: str) -> None:
    sleeping(engine, web)
    assert walls() == 0
    forger = engine.containers.run(BASE, "sleep 1000", detach=True, network=web, cap_add=["NET_RAW"], stop_timeout=0)
    assert isinstance(forger, Container)
    assert walls() == 1
    engine.networks.connect("bridge", forger)
    assert walls() == 2


def walls() -> int:
    with NetlinkSocket() as kernel:
        return len(owned.guarded(links.all_links(kernel)))


@pytest.fixture
def parent(no_leaks: None) -> Iterator[str]:
    """A link of this machine that a macvlan network may be a part of."""
    name = f"nbp{os.getpid()}"
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}b"], check=True)
    for end in (name, f"{name}b"):
        subprocess.run(["ip", "link", "set", end, "up"], check=True)
    yield name
    subprocess.run(["ip", "link", "delete", name], check=True)


def test_a_macvlan_network_from_its_making_to_its_end(parent: str, engine: Engine) -> None:
    for options, words in (({}, "needs a link"), ({"parent": parent, "macvlan_mode": "x"}, "macvlan_mode=x")):
        with pytest.raises(InvalidArgument, match=words):
            engine.networks.create("web", "macvlan", options=options, subnet="198.51.100.0/24")
    with pytest.raises(InvalidArgument, match="--subnet"):
        engine.networks.create("web", "macvlan", options={"parent": parent})
    engine.networks.create("web", "macvlan", options={"parent": parent}, subnet="198.51.100.0/24", gateway="198.51.100.254")
    try:
        first, second = sleeping(engine, "web"), sleeping(engine, "web")
        assert addresses(first) == {"eth0": "198.51.100.1/24"}
        assert way_out(first) == ["198.51.100.254"]
        assert f"inet {addresses(second)['eth0']}" in inside(second, "ip addr")
        assert inside(first, f"getent hosts {second.name}").startswith("198.51.100.2 ")
        engine.networks.disconnect("web", first)
        assert addresses(first) == {}
        engine.networks.connect("web", first)
        assert way_out(first) == ["198.51.100.254"]
        assert engine.networks.get("web").attrs["Driver"] == "macvlan"
    finally:
        gone(engine, "web")


_MAKE = """
import sys
from notebook_containers import Engine
with Engine(sys.argv[1], sys.argv[2]) as engine:
    for number in range(4):
        network = engine.networks.create(f"{sys.argv[3]}{number}")
        container = engine.containers.run(sys.argv[4], "sleep 1000", detach=True, network=network.name, stop_timeout=0)
        endpoint = engine.containers.get(container.id).document.endpoint
        print(engine.networks.get(network.name).subnet, endpoint.address)
    shared = engine.containers.run(sys.argv[4], "sleep 1000", detach=True, network="web", stop_timeout=0)
    print("web", engine.containers.get(shared.id).document.endpoint.address)
"""


def test_net12_processes_that_choose_at_once_choose_differently(engine: Engine, home: Home, web: str) -> None:
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", _MAKE, str(home.root), str(home.run), name, BASE],
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for name in ("first", "second", "third")
    ]
    try:
        lines = [line for maker in makers for line in maker.communicate(timeout=120)[0].splitlines()]
        assert [maker.returncode for maker in makers] == [0, 0, 0]
        assert len(lines) == len(set(lines)) == 15
        subnets = [line.split()[0] for line in lines if not line.startswith("web")]
        assert len(set(subnets)) == 12
    finally:
        for maker in makers:
            maker.kill()
            maker.wait()
        for container in engine.containers.list(all=True):
            container.remove(force=True)
        for network in engine.networks.list(filters={"type": "custom"}):
            if network.name != web:
                network.remove()

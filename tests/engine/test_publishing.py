"""Ports of a running container: published and taken back at once, held with their owner's name, the client's address kept."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from notebook_containers import Engine, network
from notebook_containers.engine.container import Container
from notebook_containers.errors import Conflict, InvalidArgument
from tests.home import BASE
from tests.network.stage import Place, wire

pytestmark = [pytest.mark.root, pytest.mark.netns]
# one program for three ports: "<peer's address>", then an echo until the end
SERVER = """
import selectors, socket
def received(connection):
    try:
        return connection.recv(100)
    except OSError:
        return b""
watched = selectors.DefaultSelector()
for port in (80, 81, 82):
    watched.register(socket.create_server(("", port)), 1, "listener")
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("", 53))
watched.register(datagrams, 1, "datagrams")
print("there", flush=True)
while True:
    for key, _ in watched.select():
        if key.data == "listener":
            connection, peer = key.fileobj.accept()
            connection.sendall(peer[0].encode() + b"\\n")
            watched.register(connection, 1, "connection")
        elif key.data == "datagrams":
            data, peer = datagrams.recvfrom(100)
            datagrams.sendto(data, peer)
        elif data := received(key.fileobj):
            key.fileobj.sendall(data)
        else:
            watched.unregister(key.fileobj)
            key.fileobj.close()
"""


def server(engine: Engine, **given: object) -> Container:
    container = engine.containers.run("localhost/python", ["python3", "-c", SERVER], detach=True, stop_timeout=0, **given)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    settled(lambda: b"there" in container.logs())
    return container


def settled(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def peer_seen(port: int, address: str = "127.0.0.1") -> str:
    with socket.create_connection((address, port), timeout=20) as connection, connection.makefile() as file:
        return file.readline().strip()


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=20):
        return True
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def host_port(container: Container, inside: int) -> int:
    container.reload()
    (found,) = [port.host_port for port in container.ports if port.container_port == inside]
    return found


def test_ports_of_a_running_container_come_and_go(engine: Engine) -> None:
    container = server(engine)
    container.update(ports=["80", "53/udp"])
    first = host_port(container, 80)
    assert peer_seen(first)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.sendto(b"asked", ("127.0.0.1", host_port(container, 53)))
        assert client.recv(100) == b"asked"
    container.update(ports={"81/tcp": None})
    second = host_port(container, 81)
    with socket.create_connection(("127.0.0.1", second), timeout=20) as stays, socket.create_connection(("127.0.0.1", first)) as goes:
        assert stays.recv(100)
        assert goes.recv(100)
        container.update(unpublish=["80"])
        with suppress(ConnectionResetError):
            assert goes.recv(100) == b"", "a connection through a port ends with it"
        stays.sendall(b"still here")
        assert stays.recv(100) == b"still here"
    assert not is_open(first)
    with socket.create_server(("127.0.0.1", first)):
        pass
    container.reload()
    assert [(p.container_port, p.protocol) for p in container.ports] == [(53, "udp"), (81, "tcp")]
    assert sorted(container.attrs["NetworkSettings"]["Ports"]) == ["53/udp", "81/tcp"]  # type: ignore[index, call-overload, arg-type]


def test_ports_are_where_the_way_out_is_and_follow_it(engine: Engine, networks: tuple[str, str]) -> None:
    first, second = networks
    gateways = {name: engine.networks.get(name).gateway for name in networks}
    container = server(engine, network=first, networking_config={first: None, second: {"gw_priority": 1}}, ports=["80", "53/udp"])
    port, datagrams = host_port(container, 80), host_port(container, 53)
    assert peer_seen(port) == gateways[second]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", datagrams))
        client.send(b"before")
        assert client.recv(100) == b"before"
        engine.networks.disconnect(second, container)
        assert peer_seen(port) == gateways[first]
        client.send(b"after")
        assert client.recv(100) == b"after"
    engine.networks.disconnect(first, container)
    with suppress(ConnectionError):  # it is nowhere: least of all where somebody else may be now
        assert peer_seen(port) == ""
    engine.networks.connect(second, container)
    assert peer_seen(port) == gateways[second]
    assert host_port(container, 80) == port


@pytest.fixture
def networks(engine: Engine) -> Iterator[tuple[str, str]]:
    """Two networks that are gone after the test."""
    names = ("first", "second")
    for name in names:
        engine.networks.create(name)
    yield names
    for container in engine.containers.list(all=True):
        container.remove(force=True)
    for name in names:
        engine.networks.remove(name)


def test_what_was_changed_is_there_after_a_restart(engine: Engine) -> None:
    port = free_port()
    container = server(engine, ports={"80/tcp": None})
    container.update(ports=[f"{port}:81"], unpublish=["80/tcp"])
    for _ in range(5):  # and the port of the life before is never in the way
        container.restart(timeout=0)
        settled(lambda: is_open(port))
        assert host_port(container, 81) == port
        assert len(container.ports) == 1


def test_a_container_that_does_not_run_is_changed_for_its_next_start(engine: Engine) -> None:
    container = engine.containers.create(BASE, ["sleep", "100"], ports={"80/tcp": None, "81/tcp": None}, stop_timeout=0)
    container.update(ports=["82"], unpublish=["80"])
    assert list(container.ports) == []
    container.start()
    container.reload()
    assert [port.container_port for port in container.ports] == [81, 82]


def test_a_port_may_lead_elsewhere_from_one_moment_to_the_next(engine: Engine) -> None:
    port = free_port()
    container = server(engine, ports={"80/tcp": port})
    container.update(ports=[f"{port}:82"], unpublish=["80"])
    assert host_port(container, 82) == port
    assert peer_seen(port)


def test_what_is_published_for_all_is_written_out_when_one_is_taken_back(engine: Engine) -> None:
    container = server(engine, expose=["80", "81/tcp", "53/udp"], publish_all_ports=True)
    assert {(p.container_port, p.protocol) for p in container.ports} == {(80, "tcp"), (81, "tcp"), (53, "udp")}
    container.update(unpublish=["81"])
    container.restart(timeout=0)
    container.reload()
    assert {(p.container_port, p.protocol) for p in container.ports} == {(80, "tcp"), (53, "udp")}


def test_net09_a_port_in_use_is_named_with_container_program_and_pid_and_nothing_changes(engine: Engine) -> None:
    first = server(engine, name="first")
    first.update(ports=["80"])
    taken = host_port(first, 80)
    second = server(engine, name="second", ports={"81/tcp": None})
    before = host_port(second, 81)
    with pytest.raises(Conflict, match=rf"port {taken}/tcp on 127.0.0.1 is in use, held by container first, nbc-forward \(pid \d+\)"):
        second.update(ports=[f"{taken}:80", "82"], unpublish=["81"])
    assert host_port(second, 81) == before
    assert peer_seen(before)
    with socket.create_server(("127.0.0.1", 0)) as own:
        number = own.getsockname()[1]
        with pytest.raises(Conflict, match=rf"held by .+ \(pid {os.getpid()}\)"):
            second.update(ports=[f"{number}:80"])
        second.update(ports=[f"{number}-{number + 20}:80"])  # the first that is free
    assert number < host_port(second, 80) <= number + 20


def test_wrong_words_change_nothing(engine: Engine) -> None:
    container = server(engine, ports={"80/tcp": None})
    for given, said in (
        ({"unpublish": ["81"]}, "no published port is meant by '81'"),
        ({"unpublish": ["x"]}, "'x' is no port"),
        ({"ports": ["8080:80/icmp"]}, "cannot be published"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            container.update(**given)  # type: ignore[arg-type]
    assert peer_seen(host_port(container, 80))
    alone = engine.containers.run(BASE, ["sleep", "100"], network="none", detach=True, stop_timeout=0)
    assert isinstance(alone, Container)
    with pytest.raises(InvalidArgument, match="ports cannot be published with --network none"):
        alone.update(ports=["80"])


@pytest.fixture
def neighbour() -> Iterator[tuple[Place, str]]:
    """A machine on this one's LAN, and this machine's address there."""
    number = os.getpid() % 250
    place = Place()
    try:
        wire(place, f"nbclan{number}", f"198.18.{number}.1", f"198.18.{number}.2", f"198.18.{number}.0/24")
        yield place, f"198.18.{number}.1"
    finally:
        place.end()


def test_net10_a_client_on_the_lan_is_seen_by_its_own_address(engine: Engine, neighbour: tuple[Place, str]) -> None:
    lan, here = neighbour
    container = server(engine, ports=["0.0.0.0::80"])
    port = host_port(container, 80)
    assert container.document.endpoint is not None
    obstacles = network.redirect.obstacles()
    own = re.sub(r"\.1$", ".2", here)

    def seen() -> str:
        return lan.run(lambda: peer_seen(port, here))

    assert seen() == (container.document.endpoint.gateway if obstacles else own)
    assert bool(obstacles) == any("are seen as the network's gateway" in line for line in container.warnings)
    container.update(ports=["0.0.0.0::81"])
    assert lan.run(lambda: peer_seen(host_port(container, 81), here)) == seen()
    container.update(unpublish=["80"])
    with pytest.raises(OSError, match="refused"):
        seen()

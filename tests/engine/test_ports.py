"""Published ports reached over 127.0.0.1, and what a container may not reach."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from contextlib import suppress

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import Conflict, InvalidArgument
from tests.home import BASE

pytestmark = [pytest.mark.root, pytest.mark.netns]

SERVER = ["sh", "-c", "mkdir -p /www && echo hello from inside > /www/index.html && exec busybox httpd -f -p 80 -h /www"]


def server(engine: Engine, **given: object) -> Container:
    container = engine.containers.run(BASE, SERVER, detach=True, stop_timeout=0, **given)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


def fetch(port: int) -> str:
    deadline = time.monotonic() + 5
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_a_published_port_leads_inside_and_is_free_after_stop(engine: Engine) -> None:
    container = server(engine, ports={"80/tcp": None}, name="web")
    (port,) = container.ports
    assert port.host_ip == "127.0.0.1"
    assert fetch(port.host_port) == "hello from inside\n"
    container.stop()
    container.reload()
    assert list(container.ports) == []
    deadline = time.monotonic() + 3
    while True:
        try:
            with socket.create_server(("127.0.0.1", port.host_port)):
                break
        except OSError:
            assert time.monotonic() < deadline, "the port is still held"
            time.sleep(0.05)


def test_a_restarted_container_is_published_again(engine: Engine) -> None:
    container = server(engine, ports={"80/tcp": None})
    assert fetch(container.ports[0].host_port)
    container.restart(timeout=0)
    container.reload()
    assert fetch(container.ports[0].host_port)


def test_a_port_in_use_is_named_with_its_holder_and_nothing_starts(engine: Engine) -> None:
    first = server(engine, ports={"80/tcp": None}, name="first")
    taken = first.ports[0].host_port
    with pytest.raises(Conflict, match=f"port {taken}/tcp") as caught:
        server(engine, ports={"80/tcp": taken}, name="second", remove=True)
    assert caught.value.hint
    assert [c.name for c in engine.containers.list(all=True)] == ["first"]


@pytest.mark.parametrize("network", ["none", "host"])
def test_a_port_needs_a_network_of_its_own(engine: Engine, network: str) -> None:
    with pytest.raises(InvalidArgument, match="ports cannot be published"):
        server(engine, ports={"80/tcp": None}, network=network, remove=True)


def test_publish_all_takes_what_the_image_exposes(engine: Engine) -> None:
    engine.images.build(text=f"FROM {BASE}\nEXPOSE 80 53/udp\n", tag="exposed")
    container = engine.containers.run("exposed", SERVER, detach=True, publish_all_ports=True, stop_timeout=0)
    assert isinstance(container, Container)
    assert {(p.container_port, p.protocol) for p in container.ports} == {(80, "tcp"), (53, "udp")}
    container.remove(force=True)
    engine.images.remove("exposed")


def test_containers_of_one_bridge_reach_each_other(engine: Engine) -> None:
    web = server(engine)
    assert web.document.endpoint is not None
    script = f"for i in 1 2 3 4 5 6 7 8 9 10; do wget -qO- http://{web.document.endpoint.address}/ && exit 0; sleep 0.1; done; exit 1"
    assert engine.containers.run(BASE, ["sh", "-c", script], remove=True) == b"hello from inside\n"


def test_a_service_of_this_machine_is_not_reached(engine: Engine) -> None:
    with socket.create_server(("0.0.0.0", 0)) as service:
        port = service.getsockname()[1]
        find = r"ip route | sed -n 's/^default via \([0-9.]*\).*/\1/p'"
        script = f"gw=$({find}); echo $gw; timeout 1 busybox nc $gw {port} </dev/null && echo open"
        output = engine.containers.run(BASE, ["sh", "-c", script + "; true"], remove=True)
    assert isinstance(output, bytes)
    assert re.match(rb"\d+\.\d+\.\d+\.\d+\n$", output), output


def test_the_address_is_given_back(engine: Engine) -> None:
    def address() -> str:
        output = engine.containers.run(BASE, ["sh", "-c", "ip -4 addr show eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'"], remove=True)
        assert isinstance(output, bytes)
        return output.decode().strip()

    assert address()
    seen = {address() for _ in range(3)}
    assert len(seen) == 1


def test_user_networks_are_apart(engine: Engine) -> None:
    engine.networks.create("apart")
    try:
        web = server(engine, network="apart")
        assert web.document.endpoint is not None
        script = f"timeout 1 wget -qO- http://{web.document.endpoint.address}/ || echo no way"
        assert engine.containers.run(BASE, ["sh", "-c", script], remove=True) == b"no way\n"
        with pytest.raises(Conflict, match=f"network apart is used by {web.name}"):
            engine.networks.remove("apart")
        web.kill()
        web.wait()
    finally:
        engine.networks.remove("apart")


ASKED = "import socket; s = socket.create_server(('', 80)); c, peer = s.accept(); c.sendall(peer[0].encode()); c.close()"


def test_net10_a_container_sees_its_gateway_as_the_client(engine: Engine) -> None:
    """CVE-2021-20199: never loopback, which a program may trust."""
    container = engine.containers.run("localhost/python", ["python3", "-c", ASKED], detach=True, stop_timeout=0, ports={"80/tcp": None})
    assert isinstance(container, Container)
    (port,) = container.ports
    gateway = container.exec_run(["sh", "-c", "ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'"]).output.decode().strip()
    seen, deadline = b"", time.monotonic() + 10
    while not seen and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port.host_port), 2) as connection:
            seen = connection.recv(100)
    assert gateway
    assert seen.decode() == gateway

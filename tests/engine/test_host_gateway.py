"""``--add-host NAME:host-gateway``: this machine's services, for the container that asks for them and for no other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import InvalidArgument
from tests.home import BASE
from tests.people import person

pytestmark = [pytest.mark.root, pytest.mark.netns]

NAME = "host.docker.internal"


@contextmanager
def service() -> Iterator[int]:
    """Answer on a port of every address of this machine."""
    with socket.create_server(("", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _address = server.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(b"the host\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def asked(engine: Engine, port: int, hosts: dict[str, str]) -> str:
    """Return what a new container hears on the machine's port, at the gateway of its network."""
    script = f"gw=$(ip route | sed -n 's/^default via //p' | cut -d' ' -f1); nc -w 2 $gw {port} </dev/null || echo nothing"
    container = engine.containers.run(BASE, ["sh", "-c", script], extra_hosts=hosts, detach=True)
    assert isinstance(container, Container)
    container.wait(timeout=20)
    output = container.logs()
    assert isinstance(output, bytes)
    container.remove()
    return output.decode().strip()


def test_the_host_is_reached_only_by_who_asks(engine: Engine) -> None:
    with service() as port:
        assert "the host" not in asked(engine, port, {})
        assert asked(engine, port, {NAME: "host-gateway"}) == "the host"
        # its address is free again, and this one gets it
        assert "the host" not in asked(engine, port, {})


def test_the_name_stands_for_the_gateway(engine: Engine) -> None:
    container = engine.containers.run(BASE, ["cat", "/etc/hosts"], extra_hosts={NAME: "host-gateway"}, detach=True)
    assert isinstance(container, Container)
    container.wait(timeout=10)
    output = container.logs()
    assert isinstance(output, bytes)
    lines = dict(line.split("\t")[::-1] for line in output.decode().splitlines() if NAME in line)
    settings = container.attrs["NetworkSettings"]
    assert isinstance(settings, dict)
    assert lines[NAME].rpartition(".")[2] == "1"
    assert engine.containers.run(BASE, ["grep", NAME, "/etc/hosts"], network="host", remove=True, extra_hosts={NAME: "host-gateway"}) == (
        f"127.0.0.1\t{NAME}\n".encode()
    )


def test_where_nothing_can_be_reached_it_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidArgument, match="--network none"):
        engine.containers.create(BASE, ["true"], network="none", extra_hosts={NAME: "host-gateway"})


@pytest.mark.user
def test_an_ordinary_user_is_told() -> None:
    with person(lent=False) as user:
        said = user.refused("run", "--rm", "--add-host", f"{NAME}:host-gateway", BASE, "true")
        assert said == "nbc: --add-host NAME:host-gateway is not possible for an ordinary user's network; use --network host\n"

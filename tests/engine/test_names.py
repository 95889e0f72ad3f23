"""Containers of a user-defined network find each other by name; who answers, and until when."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.keywords import EndpointKeywords
from notebook_containers.errors import StartFailed
from notebook_containers.linux.namespaces import open_namespace
from notebook_containers.linux.netlink import in_network_namespace
from tests.home import BASE, Home

pytestmark = [pytest.mark.root, pytest.mark.netns]


@pytest.fixture
def web(engine: Engine, home: Home) -> Iterator[str]:
    """A network that is gone after the test, and the resolver with its last container."""
    yield engine.networks.create("web").name
    for container in engine.containers.list(all=True):
        container.remove(force=True)
    engine.networks.remove("web")
    until(lambda: resolvers(home) == [])


OUTSIDE = "127.77.0.1"


@pytest.fixture(autouse=True)
def asked() -> Iterator[list[str]]:
    """A name server outside that knows www.example.org, and what it was asked."""
    names: list[str] = []

    def serve(sock: socket.socket) -> None:
        while True:
            data, client = sock.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            name = query.question[0].name
            names.append(name.to_text())
            answer = dns.message.make_response(query)
            if name.to_text() != "www.example.org.":
                answer.set_rcode(dns.rcode.NXDOMAIN)
            elif query.question[0].rdtype == dns.rdatatype.A:
                answer.answer = [dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.7")]
            sock.sendto(answer.to_wire(), client)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((OUTSIDE, 53))
        thread = threading.Thread(target=serve, args=(sock,))
        thread.start()
        try:
            yield names
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", (OUTSIDE, 53))
            thread.join()


def until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def resolvers(home: Home) -> list[int]:
    """Return the processes that answer names for this store."""
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdecimal()):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"notebook_containers.network.answering" in words and any(str(home.run).encode() in word for word in words):
            found.append(pid)
    return found


def named(engine: Engine, name: str, network: str = "web", *, servers: tuple[str, ...] = (OUTSIDE,), **place: object) -> Container:
    config: dict[str, EndpointKeywords | None] = {network: place or None}  # type: ignore[dict-item]
    found = engine.containers.run(
        BASE, "sleep 1000", detach=True, name=name, network=network, networking_config=config, stop_timeout=0, dns=servers
    )
    assert isinstance(found, Container)
    return found


def looked_up(container: Container, name: str) -> str:
    """Return the address that the container's own library finds, empty when there is none."""
    result = container.exec_run(["sh", "-c", f"getent hosts {name} | sed 's/ .*//'"])
    assert isinstance(result.output, bytes)
    return result.output.decode().strip()


def address(container: Container, network: str = "web") -> str:
    container.reload()
    return next(place.address for place in container.document.endpoints if place.network == network)


def test_a_name_an_alias_and_an_address_are_found(engine: Engine, web: str, home: Home) -> None:
    db = named(engine, "db", aliases=["store"])
    app = named(engine, "app")
    for name in ("db", "store", "DB", "db.web", db.short_id, db.document.hostname):
        assert looked_up(app, name) == address(db), name
    reverse = app.exec_run(["nslookup", address(db)]).output
    assert isinstance(reverse, bytes)
    assert b"db.web" in reverse
    assert len(resolvers(home)) == 1


def test_a_container_that_starts_again_is_found_at_its_new_address(engine: Engine, web: str) -> None:
    db, app = named(engine, "db"), named(engine, "app")
    before = address(db)
    db.stop()
    until(lambda: looked_up(app, "db") == "")
    other = named(engine, "other")  # takes the address that has become free
    assert address(other) == before
    db.start()
    assert looked_up(app, "db") == address(db) != before


def test_names_follow_connect_disconnect_and_rename(engine: Engine, web: str) -> None:
    engine.networks.create("data")
    try:
        app, db = named(engine, "app"), named(engine, "db", "data")
        assert looked_up(app, "db") == ""
        engine.networks.connect("web", db, aliases=["store"])
        assert looked_up(app, "store") == looked_up(app, "db") == address(db)
        db.rename("base")
        assert (looked_up(app, "base"), looked_up(app, "db")) == (address(db), "")
        engine.networks.disconnect("web", db)
        assert looked_up(app, "base") == ""
        engine.networks.disconnect("data", db)
        resolver = db.exec_run(["cat", "/etc/resolv.conf"]).output
        assert isinstance(resolver, bytes)
        assert b"127.0.0.11" not in resolver
        db.remove(force=True)
    finally:
        engine.networks.remove("data")


def test_a_resolver_that_was_killed_is_told_of_everybody_again(engine: Engine, web: str, home: Home) -> None:
    db, app = named(engine, "db"), named(engine, "app")
    (pid,) = resolvers(home)
    os.kill(pid, 9)
    until(lambda: resolvers(home) == [])
    third = named(engine, "third")
    assert looked_up(third, "db") == looked_up(app, "db") == address(db)
    assert looked_up(app, "third") == address(third)


def test_a_name_server_of_its_own_has_port_53(engine: Engine, web: str) -> None:
    named(engine, "db")
    app = named(engine, "app")

    def bind() -> None:
        with socket.create_server(("", 53)), socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("", 53))

    namespace = open_namespace(app.state.pid, "network")
    try:
        in_network_namespace(namespace, bind)
    finally:
        os.close(namespace)
    assert looked_up(app, "db")


def test_what_nobody_here_is_called_is_asked_outside(engine: Engine, web: str, asked: list[str]) -> None:
    app = named(engine, "app", servers=("127.77.0.9", OUTSIDE))  # nobody answers at the first
    assert looked_up(app, "www.example.org") == "192.0.2.7"
    assert looked_up(app, "app") == address(app)
    assert set(asked) == {"www.example.org."}


def test_net07_an_internal_network_asks_nobody_outside(engine: Engine, home: Home, asked: list[str]) -> None:
    engine.networks.create("inner", internal=True)
    try:
        app, db = named(engine, "app", "inner"), named(engine, "db", "inner")
        assert looked_up(app, "www.example.org") == ""
        assert looked_up(app, "db") == address(db, "inner")
        assert asked == []
        app.remove(force=True)
        db.remove(force=True)
    finally:
        engine.networks.remove("inner")
    until(lambda: resolvers(home) == [])


def test_net11_a_name_counts_in_its_own_network_only(engine: Engine, web: str) -> None:
    named(engine, "www.example.org")
    engine.networks.create("data")
    try:
        near, far = named(engine, "near"), named(engine, "far", "data")
        assert looked_up(far, "www.example.org") == "192.0.2.7"
        assert looked_up(near, "www.example.org") == address(engine.containers.get("www.example.org"))
        far.remove(force=True)
    finally:
        engine.networks.remove("data")


def test_a_start_that_fails_leaves_no_resolver_behind(engine: Engine, web: str, home: Home) -> None:
    with pytest.raises(StartFailed):
        engine.containers.run(BASE, ["/no/such/program"], network=web, detach=True)
    until(lambda: resolvers(home) == [])

"""``nbc network trace``: each way of not getting through is named where it is, and what gets through is told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.tracing import Hop
from notebook_containers.errors import Conflict, InvalidArgument
from tests.engine.test_publishing import settled
from tests.home import BASE
from tests.people import Person, person

pytestmark = [pytest.mark.root, pytest.mark.netns]
SERVER = "mkdir -p /www; busybox httpd -p 127.0.0.1:81 -h /www; exec busybox httpd -f -p 80 -h /www"


def run(engine: Engine, name: str, network: str, **given: object) -> Container:
    made = engine.containers.run(BASE, ["sh", "-c", SERVER], name=name, network=network, detach=True, stop_timeout=0, **given)  # type: ignore[arg-type]
    assert isinstance(made, Container)
    return made


@pytest.fixture
def networks(engine: Engine) -> Iterator[Engine]:
    for name in ("web", "apart"):
        engine.networks.create(name)
    engine.networks.create("closed", internal=True)
    yield engine
    for container in engine.containers.list(all=True):
        container.remove(force=True)
    for name in ("web", "apart", "closed"):
        engine.networks.remove(name)


def way(hops: list[Hop]) -> list[tuple[str, bool]]:
    return [(hop.hop, hop.passes) for hop in hops]


def test_the_way_to_a_container_and_where_it_stops(networks: Engine) -> None:
    def trace(source: str, target: str) -> list[Hop]:
        return list(networks.networks.trace(source, target))

    run(networks, "aa", "web")
    b, c = run(networks, "bb", "web"), run(networks, "cc", "apart")
    run(networks, "dd", "closed")
    address = b.document.endpoints[0].address
    settled(lambda: trace("aa", "bb:80")[-1].passes)
    through = trace("aa", "bb:80")
    assert way(through) == [(hop, True) for hop in ("name", "route", "link", "firewall", "listener", "connection")]
    assert through[0].detail == f"bb is {address}"
    assert through[1].detail == f"{address} by eth0, directly"
    assert "httpd (pid " in through[4].detail or "busybox (pid " in through[4].detail
    assert through[5].detail.startswith("connected in ")

    nobody = trace("aa", "bb:82")
    assert way(nobody)[-1] == ("listener", False)
    assert nobody[-1].detail.startswith("nothing listens on port 82/tcp; what listens: 80 (")
    assert "?" not in nobody[-1].detail, "the networks' resolver is nobody's program"
    assert "127.0.0.1 only" in trace("aa", "bb:81")[-1].detail

    unknown = trace("aa", "cc:80")
    assert way(unknown) == [("name", False)]
    assert unknown[0].detail.endswith("container cc is in apart, aa in web")
    apart = trace("aa", f"{c.document.endpoints[0].address}:80")
    assert way(apart) == [("name", True), ("route", True), ("link", True), ("firewall", False)]
    assert apart[-1].where == "table inet notebook_containers, chain forward"
    assert "networks web and apart are kept apart; nbc network connect apart aa" in apart[-1].detail
    networks.networks.connect("apart", "aa")
    assert trace("aa", "cc:80")[-1].detail.startswith("connected in ")

    inside = trace("dd", "198.51.100.7:80")
    assert way(inside) == [("name", True), ("route", False)]
    assert inside[-1].detail.endswith("network closed is internal and has no way out")
    host = trace("aa", f"{b.document.endpoints[0].gateway}:22")
    assert (host[-1].hop, host[-1].where) == ("firewall", "table inet notebook_containers, chain input")
    assert "host-gateway" in host[-1].detail
    cloud = trace("aa", "169.254.169.254:80")
    assert "metadata" in cloud[-1].detail
    assert trace("aa", "bb:53/udp")[-1].detail.endswith("nothing listens on port 53/udp; what listens: nothing")
    b.kill()
    b.wait()
    assert trace("aa", "bb:80")[0].detail.endswith("container bb does not run")
    with pytest.raises(Conflict, match="nothing can go out of it"):
        trace("bb", "aa:80")
    with pytest.raises(InvalidArgument, match="is no target"):
        trace("aa", "bb:80:90")


@pytest.mark.user
def test_the_way_in_an_ordinary_users_network() -> None:
    with person(lent=False) as user:
        user.nbc("network", "create", "web")
        for name in ("aa", "bb"):
            user.nbc("run", "-d", "--name", name, "--network", "web", "--stop-timeout", "0", BASE, "sh", "-c", SERVER)
        try:
            settled(lambda: "connected in" in hops(user, "aa", "bb:80")[-1])
            assert [line.partition(" ")[0] for line in hops(user, "aa", "bb:80")] == [
                *("name", "route", "link", "firewall", "listener", "connection")
            ]
        finally:
            user.nbc("rm", "-f", "aa", "bb")
            user.nbc("network", "rm", "web")


def hops(user: Person, source: str, target: str) -> list[str]:
    return user.nbc("network", "trace", "--format", "{{.Hop}} {{.Detail}}", source, target).splitlines()

"""``system check``: each thing that a container can leave on the machine is found, named and taken away, and nothing of those that live."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine import leaks
from notebook_containers.engine.container import Container
from notebook_containers.engine.network_document import config_of, parse
from notebook_containers.linux import process as processes
from notebook_containers.network import bridge, firewall
from notebook_containers.network.config import NetworkConfig
from notebook_containers.network.leftovers import carriers
from tests.home import BASE
from tests.needs import need
from tests.network.stage import Place

pytestmark = pytest.mark.root

GHOST = "f" * 64


@contextmanager
def process(engine: Engine, box: Container) -> Iterator[str]:
    """A container that runs, whose record is lost."""
    state = box.state
    engine._parts.store.records.remove_container(box.id)
    yield str(state.pid)
    assert not processes.alive(state.pid, state.pid_started)
    assert processes.wait_gone(state.monitor_pid, state.monitor_started, 30)
    engine.images.prune()  # with it goes what the monitor wrote at the end


@contextmanager
def port(_engine: Engine, box: Container) -> Iterator[str]:
    """The process that carries a port stands still while its container ends, so that it does not see it."""
    (pid,) = (each.pid for each in carriers() if str(box.ports[0].host_port) in " ".join(each.ports))
    os.kill(pid, signal.SIGSTOP)
    started = processes.start_time(pid)
    box.kill()
    box.wait()
    yield str(pid)
    assert not processes.alive(pid, started)


@contextmanager
def address(engine: Engine, _box: Container) -> Iterator[str]:
    (network,) = engine._parts.store.records.networks()
    engine._parts.store.records.lease_address(network.id, GHOST, lambda _taken: "10.255.255.9")
    yield GHOST
    assert GHOST not in engine._parts.store.records.addresses(network.id)


@contextmanager
def group(_engine: Engine, box: Container) -> Iterator[str]:
    """An empty cgroup of a container that is gone."""
    paths = [path.parent / GHOST for path in Path("/sys/fs/cgroup").glob(f"*/notebook-containers/{box.id}")]
    paths += [path.parent / GHOST for path in Path("/sys/fs/cgroup").glob(f"notebook-containers/{box.id}")]
    need(paths, "a cgroup of the container")
    paths[0].mkdir()
    try:
        yield GHOST
        assert not paths[0].exists()
    finally:
        if paths[0].exists():
            paths[0].rmdir()


KINDS: dict[str, Callable[[Engine, Container], object]] = {
    "process-leaked": process,
    "port-leaked": port,
    "address-leaked": address,
    "cgroup-leaked": group,
}


@pytest.fixture
def box(engine: Engine) -> Container:
    """A container on the bridge with a published port, as sound as can be."""
    made = engine.containers.run(BASE, ["sleep", "1000"], detach=True, ports={"80/tcp": None}, stop_timeout=0)
    assert isinstance(made, Container)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_is_found_and_taken_away(engine: Engine, box: Container, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inject: Callable[[Engine, Container], object] = KINDS[kind]
    monkeypatch.setattr(leaks, "_GRACE_S", -1.0)
    assert found(engine) == []
    with inject(engine, box) as subject:  # type: ignore[attr-defined]
        assert (kind, subject) in found(engine)
        repaired = engine.check(repair=True)
        assert repaired.clean, repaired.findings
        assert (kind, subject) in [(each.finding.kind, each.finding.subject) for each in repaired.repairs if each.repaired]
    assert found(engine) == []


def test_a_build_is_no_leak(engine: Engine, box: Container) -> None:
    """Its steps have no record: while something holds a lease, nothing is called a leak."""
    assert box.status == "running"
    (network,) = engine._parts.store.records.networks()
    with engine._parts.store.lease():
        engine._parts.store.records.lease_address(network.id, GHOST, lambda _taken: "10.255.255.9")
        assert found(engine) == []
        engine._parts.store.records.release_addresses(GHOST)


@pytest.fixture
def alone(engine: Engine, box: Container) -> Iterator[tuple[Place, NetworkConfig]]:
    """The network's bridge once more, in a network namespace where nobody else makes links and rules."""
    assert box.status == "running"
    (network,) = engine._parts.store.records.networks()
    config = config_of(parse(network.document))
    place = Place()
    try:
        place.run(lambda: bridge.ensure(config))
        yield place, config
    finally:
        place.end()


def test_a_pair_of_nobody_is_found_and_taken_away(engine: Engine, alone: tuple[Place, NetworkConfig]) -> None:
    place, config = alone
    ghost = Place()  # the other end is in a network namespace that a process keeps
    name = bridge.port_name(config, GHOST)
    address = str(ipaddress.IPv4Network(config.subnet)[-2])
    try:
        assert place.run(lambda: found(engine)) == []
        place.run(lambda: bridge.attach(config, pid=ghost.pid, container_id=GHOST, address=address))
        assert place.run(lambda: found(engine)) == [("link-leaked", name)]
        repaired = place.run(lambda: engine.check(repair=True, quick=True))
        assert [(each.finding.subject, each.done) for each in repaired.repairs] == [(name, "removed")]
        assert place.run(lambda: found(engine)) == []
    finally:
        ghost.end()


@pytest.mark.parametrize("words", ["add rule inet {} forward ip saddr 192.0.2.1 accept", "delete table inet {}"])
def test_rules_that_are_not_ours_are_found_and_written_anew(engine: Engine, alone: tuple[Place, NetworkConfig], words: str) -> None:
    need(shutil.which("nft"), "nft")
    place, _config = alone
    table = f"table inet {firewall.TABLE}"
    assert place.run(lambda: found(engine)) == []
    place.run(lambda: subprocess.run(["nft", *words.format(firewall.TABLE).split()], check=True))
    assert place.run(lambda: found(engine)) == [("firewall-damaged", table)]
    repaired = place.run(lambda: engine.check(repair=True, quick=True))
    assert [(each.finding.subject, each.done) for each in repaired.repairs] == [(table, "written anew")]
    assert place.run(lambda: found(engine)) == []


def test_rules_without_a_network_are_found_and_go(engine: Engine, alone: tuple[Place, NetworkConfig]) -> None:
    need(shutil.which("nft"), "nft")
    place, config = alone
    place.run(lambda: bridge.remove(config))
    assert place.run(lambda: found(engine)) == []
    place.run(lambda: subprocess.run(["nft", "add", "table", "inet", firewall.TABLE], check=True))
    assert place.run(lambda: found(engine)) == [("firewall-damaged", f"table inet {firewall.TABLE}")]
    place.run(lambda: engine.check(repair=True, quick=True))
    assert place.run(lambda: subprocess.run(["nft", "list", "tables"], capture_output=True, check=True).stdout) == b""


def found(engine: Engine) -> list[tuple[str, str]]:
    """Return what leaked of this store, and not what others on the machine have left or make meanwhile."""
    return [(each.kind, each.subject) for each in engine.check(quick=True).findings if not each.garbage or each.subject == GHOST]

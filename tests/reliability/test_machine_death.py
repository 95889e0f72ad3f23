"""REL-02, REL-25: everything dies at once, or the machine restarts; afterwards the records are true and nothing is stuck."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.linux import cgroups, process as processes
from notebook_containers.runtime.bundle import Bundle
from notebook_containers.store.check import check
from notebook_containers.store.store import Store
from tests.home import BASE, Home
from tests.reliability.victims import Operation, spawner

pytestmark = pytest.mark.root

THREE = """
for name, policy in (("plain", "no"), ("again", "unless-stopped"), ("gone", "no")):
    engine.containers.run(BASE, ["sleep", "1000"], name=name, network="none", detach=True, stop_timeout=0,
                          auto_remove=name == "gone", restart_policy={"Name": policy})
engine.containers.run(BASE, ["sh", "-c", "exit 4"], name="over", network="none", detach=True).wait()
print("up", flush=True)
time.sleep(60)
"""


def test_rel02_everything_is_killed_at_once(place: Home) -> None:
    operation = Operation(THREE, place.variables())
    with place.open() as engine:
        begin(operation)
        states = [c.state for c in engine.containers.list()]
    assert len(states) == 3
    for pid in [operation.pid, spawner(operation.pid), *(s.monitor_pid for s in states), *(s.pid for s in states)]:
        os.kill(pid, signal.SIGKILL)
    operation.stop()
    for state in states:
        assert processes.wait_gone(state.pid, state.pid_started, 5)
    with place.open() as engine:
        lost = {c.name: (c.status, c.exit_code) for c in engine.containers.list(all=True)}
        assert lost == {"plain": ("exited", 137), "again": ("exited", 137), "over": ("exited", 4)}  # gone: --rm
        names = {c.id: c.name for c in engine.containers.every()}
        recovered = engine.recover()
        assert [names[i] for i in recovered.started] == ["again"]
        assert {c.name for c in engine.containers.list()} == {"again"}
        whole(place)
        engine.containers.get("again").remove(force=True)
        engine.containers.prune()
    assert place.remains() == {}


def test_rel25_after_a_restart_of_the_machine(place: Home, tmp_path: Path) -> None:
    """Another boot id, an empty run directory, and pids in the old records that are strangers now."""
    operation = Operation(THREE, place.variables())
    begin(operation)
    with place.open() as engine:
        states = {c.name: c.state for c in engine.containers.list()}
        ids = {c.name: c.id for c in engine.containers.every()}
    operation.stop()
    for state in states.values():
        os.kill(state.monitor_pid, signal.SIGKILL)
        assert processes.wait_gone(state.pid, state.pid_started, 5)
    shutil.rmtree(place.run)
    (tmp_path / "boot").write_text("00000000-0000-0000-0000-000000000000\n")
    after = Operation(
        f"from notebook_containers.linux import boot\nboot._PATH = {str(tmp_path / 'boot')!r}\nboot.boot_id.cache_clear()\n"
        "done = engine.recover()\nprint(done.to_json())\nassert not done.failed, done\n",
        place.variables(),
    ).run()
    assert after.code == 0, after.output
    with place.open() as engine:
        assert f"'started': ['{ids['again']}']" in after.output
        assert f"'removed': ['{ids['gone']}']" in after.output
        assert engine.containers.get("again").status == "running"
        done = engine.recover()  # a second time nothing is to do
        assert (done.lost, done.removed, done.started, done.failed) == ((), (), (), ())
        assert {c.name for c in engine.containers.every()} == {"plain", "again", "over"}
        assert engine.containers.get("plain").exit_code == 137
        assert engine.containers.get("over").exit_code == 4
        for left in engine.containers.list(all=True):
            left.remove(force=True)
    whole(place)


def begin(operation: Operation) -> None:
    """Let it work until it has said ``up``; it waits then."""
    process = operation._process
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line == "up\n", line + process.stdout.read()


def whole(place: Home) -> None:
    with Store.open(place.root) as store:
        assert [str(f) for f in check(store) if not f.garbage] == []


def test_rel15_ten_containers_are_found_again(place: Home) -> None:
    code = """
for n in range(10):
    engine.containers.run(BASE, ["sh", "-c", f"sleep 0.5; echo {n}; exit {n}"], name=f"c{n}", network="none", detach=True)
print("up", flush=True)
time.sleep(60)
"""
    operation = Operation(code, place.variables())
    begin(operation)
    operation.stop()
    with place.open() as engine:
        containers = [engine.containers.get(f"c{n}") for n in range(10)]
        assert [c.wait(timeout=20)["StatusCode"] for c in containers] == [*range(10)]
        assert [c.logs() for c in containers] == [f"{n}\n".encode() for n in range(10)]
        for container in containers:
            container.remove()


def test_a_run_of_a_killed_build_does_not_go_on(place: Home) -> None:
    operation = Operation(f"engine.images.build(text='FROM {BASE}\\nRUN echo; sleep 1000', network='none')", place.variables())
    ended = operation.run(after_s=1.5)
    assert ended.code == -signal.SIGKILL
    with place.open() as engine:
        _until_empty(place.run / "c")
        engine.images.prune()
        assert check(engine._parts.store) == []
    assert place.remains() == {}


def _until_empty(directory: Path) -> None:
    deadline = time.monotonic() + 3
    while os.listdir(directory):
        assert time.monotonic() < deadline, os.listdir(directory)
        time.sleep(0.02)


def test_a_killed_start_can_be_done_again_at_once(place: Home, engine: Engine) -> None:
    container = engine.containers.create(BASE, ["true"], network="none")
    assert isinstance(container, Container)
    (place.run / "c" / container.id[:12]).mkdir(parents=True)  # as whoever is killed before the monitor works leaves it
    container.start()
    assert container.wait(timeout=10)["StatusCode"] == 0
    container.remove()
    half = engine.containers.create(BASE, ["true"], network="none")
    engine._parts.runtime.create(half.id, _bundle(engine, half))  # killed between create and start
    half.reload()
    assert half.status == "created"
    half.start()
    assert half.wait(timeout=10)["StatusCode"] == 0
    half.remove()


def _bundle(engine: Engine, container: Container) -> Bundle:
    return Bundle(path=engine._parts.bundle_path(container.id))


def test_p3_a_half_made_container_that_its_killed_maker_left_frozen(place: Home, engine: Engine) -> None:
    """The monitor waits for ever for a first process that stands still: rm ends both."""
    container = engine.containers.create(BASE, ["true"], network="none")
    group = cgroups.open_cgroup(f"notebook-containers/{container.id}")
    group.create()
    frozen = subprocess.Popen(["sleep", "1000"])
    group.add(frozen.pid)
    group.freeze()
    (place.run / "c" / container.id[:12]).mkdir(parents=True)
    container.remove(force=True)
    assert frozen.wait(timeout=10) == -signal.SIGKILL
    assert group.pids() == []
    assert place.remains() == {}

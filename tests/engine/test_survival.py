"""The process that started a container is killed: the container goes on, another process sees, stops and removes it (P3, P4, REL-15)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from notebook_containers import Engine
from notebook_containers.errors import Conflict
from tests.home import BASE, Home

pytestmark = pytest.mark.root

STARTER = """
import os, sys
from notebook_containers import Engine
engine = Engine()
container = engine.containers.run({image!r}, ["sh", "-c", {script!r}], detach=True, name="orphan", network={network!r}, **{options!r})
print(container.id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def orphan(home: Home, engine: Engine, tree_environment: dict[str, str]) -> Iterator[Starter]:
    starter = Starter(home, tree_environment)
    yield starter
    starter.kill()


class Starter:
    """Starts containers in a process of its own, and kills that process."""

    def __init__(self, home: Home, environment: dict[str, str]) -> None:
        self._environment = {**environment, **home.variables()}
        self._process: subprocess.Popen[str] | None = None

    def start(self, script: str, *, network: str = "none", **options: object) -> str:
        code = STARTER.format(image=BASE, script=script, network=network, options={"stop_timeout": 1, **options})
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def test_p4_a_killed_kernel_leaves_its_container_running(engine: Engine, orphan: Starter) -> None:
    identity = orphan.start("while :; do echo tick; sleep 0.05; done", network="bridge")
    time.sleep(0.2)
    orphan.kill()
    container = engine.containers.get("orphan")
    assert (container.id, container.status) == (identity, "running")
    before = container.logs()
    time.sleep(0.3)
    container.reload()
    assert container.status == "running"
    assert len(container.logs()) > len(before)
    assert container.exec_run("echo still").output == b"still\n"
    container.stop()
    assert container.exit_code == 137  # a first process without a handler does not hear SIGTERM
    container.remove()
    assert engine.containers.list(all=True) == []


def test_rel15_the_exit_code_and_the_log_are_kept_when_nobody_looks(engine: Engine, orphan: Starter) -> None:
    orphan.start("echo first; sleep 0.5; echo last; exit 23")
    orphan.kill()
    time.sleep(0.9)
    container = engine.containers.get("orphan")
    assert (container.status, container.exit_code) == ("exited", 23)
    assert container.wait() == {"StatusCode": 23, "Error": None}
    assert container.logs() == b"first\nlast\n"


def test_rel15_a_published_port_goes_on(engine: Engine, orphan: Starter) -> None:
    import urllib.request

    script = "mkdir -p /www; echo here > /www/index.html; exec busybox httpd -f -p 80 -h /www"
    orphan.start(script, network="bridge", ports={"80/tcp": None})
    orphan.kill()
    container = engine.containers.get("orphan")
    (port,) = container.ports
    deadline = time.monotonic() + 5
    while True:
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{port.host_port}/", timeout=1).read()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert answer == b"here\n"
    container.remove(force=True)


def test_rel15_restarts_go_on(engine: Engine, orphan: Starter) -> None:
    orphan.start("echo run; sleep 0.1; exit 1", restart_policy={"Name": "always"})
    orphan.kill()
    container = engine.containers.get("orphan")
    deadline = time.monotonic() + 5
    while container.logs().count(b"run") < 3:
        assert time.monotonic() < deadline, container.attrs["State"]
        time.sleep(0.05)
    container.remove(force=True)


def test_p3_a_container_whose_monitor_was_killed_can_be_stopped_and_removed(engine: Engine, orphan: Starter) -> None:
    orphan.start("sleep 1000")
    container = engine.containers.get("orphan")
    monitor = container.state.monitor_pid
    assert monitor
    orphan.kill()
    os.kill(monitor, signal.SIGKILL)
    deadline = time.monotonic() + 3
    while os.path.exists(f"/proc/{monitor}") and time.monotonic() < deadline:
        time.sleep(0.02)
    container.reload()
    if container.status == "running":
        container.stop()
    assert container.status == "exited"
    assert container.exit_code == 137
    container.remove()
    assert engine.containers.list(all=True) == []


def test_p3_the_first_process_killed_from_outside(engine: Engine, orphan: Starter) -> None:
    orphan.start("sleep 1000")
    container = engine.containers.get("orphan")
    os.kill(container.state.pid, signal.SIGKILL)
    assert container.wait(timeout=5)["StatusCode"] == 137
    container.reload()
    assert not container.state.oom_killed


def test_two_processes_remove_at_once_and_one_of_them_is_told(engine: Engine, home: Home) -> None:
    from concurrent.futures import ThreadPoolExecutor

    container = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, name="both")
    assert not isinstance(container, bytes)
    with home.open() as other:
        twin = other.containers.get("both")
        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(lambda c: _outcome(c.remove), [container, twin]))
    assert sorted(outcomes) == ["ContainerNotFound", "done"]


def _outcome(act: object) -> str:
    try:
        act(force=True)  # type: ignore[operator]
    except Exception as err:
        return type(err).__name__
    return "done"


def test_names_are_given_once_by_two_processes_too(engine: Engine, home: Home) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with home.open() as other, ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(e.containers.create, BASE, ["true"], network="none", name="same") for e in (engine, other)]
        errors = [f.exception() for f in futures]
    assert sorted(type(e).__name__ for e in errors) == ["Conflict", "NoneType"]
    assert any(isinstance(e, Conflict) for e in errors)

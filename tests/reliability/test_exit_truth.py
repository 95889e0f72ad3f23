"""REL-17: what is said about an end is true: every code, every signal, memory, seccomp, what cannot start; and what Docker says of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.linux import cgroups
from tests.conftest import TREE
from tests.home import BASE
from tests.needs import need
from tests.reliability.exits import EATER
from tests.reliability.test_ends import until

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGURG, signal.SIGWINCH}
RESERVED = {32, 33}
"""The C library keeps them for its threads."""

DIFFERENT = {
    # runc says that the command runs before it executes it, so it ends with 1 there; POSIX shells say 126, and so do we, before it runs
    "no program": ("refused with 126", "1"),
    "no interpreter named": ("refused with 126", "1"),
    "no such interpreter": ("refused with 126", "1"),
    # Docker says so of every container in which anything was killed; with us it is about the container's end, and oomKills counts the rest
    "a child was out of memory": ("0", "0 OOM"),
}


def started(engine: Engine, command: list[str], **given: object) -> Container:
    container = engine.containers.run(BASE, command, network="none", detach=True, stop_timeout=0, **given)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


@pytest.mark.needs("dockerd")
def test_rel17_the_table_is_dockers(tmp_path: Path) -> None:
    output = tmp_path / "exits.json"
    command = [sys.executable, "-m", "tests.reliability.exits", str(output)]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(output.read_text())
    assert found["docker"], "Docker did not run"
    pairs = {name: (found["ours"][name], found["docker"][name]) for name in found["ours"]}
    assert {name: pair for name, pair in pairs.items() if pair[0] != pair[1]} == DIFFERENT
    assert len(pairs) > 20


def test_rel17_every_exit_code(engine: Engine) -> None:
    def code(number: int) -> object:
        container = started(engine, ["sh", "-c", f"exit {number}"])
        found = container.wait(timeout=60)["StatusCode"]
        assert not container.state.oom_killed
        assert container.state.signal == 0
        container.remove()
        return found

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(code, range(256))) == list(range(256))


def test_rel17_every_signal_from_outside(engine: Engine) -> None:
    """On the machine's pid namespace, where the first process is no init: every signal with a default end ends it."""
    fatal = [number for number in range(1, 65) if number not in HARMLESS | RESERVED]

    def code(number: int) -> tuple[object, int, bool]:
        container = started(engine, ["sleep", "1000"], pid_mode="host")
        container.kill(number)
        found = container.wait(timeout=60)["StatusCode"], container.state.signal, container.state.oom_killed
        container.remove()
        return found

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(code, fatal)) == [(128 + number, number, False) for number in fatal]


def test_rel17_a_child_without_memory_is_counted_while_the_container_runs(engine: Engine) -> None:
    need(not cgroups.usable().get("memory"), "memory controller")
    container = started(engine, ["sh", "-c", f"{EATER}; echo child $?; exec sleep 1000"], mem_limit="16m")
    until(lambda: b"child 137" in container.logs(), 60)

    def counted() -> bool:
        container.reload()
        return container.state.oom_kills > 0

    until(counted)
    assert (container.status, container.state.oom_killed) == ("running", False)
    container.kill()  # by us: that is no lack of memory, although there was one
    assert container.wait(timeout=60)["StatusCode"] == 137
    assert not container.state.oom_killed

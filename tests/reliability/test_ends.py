"""REL-16, REL-17, REL-18, REL-31: how containers end, by whomever, and that what is said about it is true."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.linux import cgroups, process as processes
from tests.home import BASE
from tests.needs import need

pytestmark = pytest.mark.root


def start(engine: Engine, script: str, **given: object) -> Container:
    container = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, **given)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_rel17_every_signal_is_128_and_its_number(engine: Engine) -> None:
    harmless = {"SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGWINCH"}
    fatal = [n for n in range(1, 32) if signal.Signals(n).name not in harmless]
    # the first process of a pid namespace cannot kill itself: its child does, and its shell tells
    container = start(engine, "for n in " + " ".join(map(str, fatal)) + '; do sh -c "kill -$n \\$\\$" >/dev/null 2>&1; echo $n $?; done')
    assert container.wait(timeout=30)["StatusCode"] == 0
    lines = [line.split() for line in container.logs(stderr=False).decode().splitlines()]
    told = {int(number): int(code) for number, code in lines}
    assert told == {n: 128 + n for n in fatal}


def test_rel18_a_stopped_process_is_ended(engine: Engine) -> None:
    container = start(engine, "sleep 1000 & wait")
    os.kill(container.state.pid, signal.SIGSTOP)
    began = time.monotonic()
    container.stop(timeout=1)
    assert time.monotonic() - began < 3
    assert container.exit_code == 137


def test_rel18_hundreds_of_processes_that_ignore_it(engine: Engine) -> None:
    container = start(engine, "trap '' TERM; i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i+1)); done; echo up; wait")
    until(lambda: b"up" in container.logs(), 30)
    pids = [(pid, processes.start_time(pid)) for pid in container._parts.runtime.pids(container.id)]
    assert len(pids) > 300
    began = time.monotonic()
    container.stop(timeout=1)
    assert time.monotonic() - began < 5
    assert not any(processes.alive(pid, started) for pid, started in pids)


def test_rel18_paused_processes_that_ignore_it(engine: Engine) -> None:
    need(not cgroups.usable().get("freezer"), "freezer")
    container = start(engine, "trap '' TERM; echo up; while :; do sleep 0.1; done")
    until(lambda: b"up" in container.logs())
    container.pause()
    container.stop(timeout=0)
    assert container.status == "exited"
    container.remove()


def test_rel16_after_its_monitor_was_killed_it_can_run_again_with_its_files_and_log(engine: Engine) -> None:
    container = start(engine, "[ -e /mark ] && echo again && exit 3; echo first; touch /mark; sleep 1000")
    until(lambda: b"first" in container.logs())
    state = container.state
    os.kill(state.monitor_pid, signal.SIGKILL)
    until(lambda: _status(container) == "exited", 2)
    assert not processes.alive(state.pid, state.pid_started)
    assert container.exit_code == 137
    assert "lost" in container.state.error
    container.start()
    assert container.wait(timeout=40)["StatusCode"] == 3
    assert container.logs() == b"first\nagain\n"


def test_rel31_a_crash_loop_backs_off_and_costs_little(engine: Engine) -> None:
    container = start(engine, "date +%s.%N; exit 1", restart_policy={"Name": "always"})
    monitor = container.state.monitor_pid
    until(lambda: _restarts(container) >= 4, 20)
    spent = _cpu_s(monitor)
    time.sleep(1)  # between the fifth life and the sixth there are 1.6 seconds and more
    assert _cpu_s(monitor) - spent < 0.1
    container.stop(timeout=0)
    assert container.status == "exited"
    count = _restarts(container)
    time.sleep(0.3)
    assert _restarts(container) == count


def _status(container: Container) -> str:
    container.reload()
    return container.status


def _restarts(container: Container) -> int:
    container.reload()
    return container.state.restart_count


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

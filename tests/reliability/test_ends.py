"""REL-16, REL-17, REL-18, REL-19, REL-31: how containers end, by whomever, and that what is said about it is true."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.linux import cgroups, process as processes
from tests.home import BASE
from tests.needs import need

pytestmark = pytest.mark.root

BUSY_S = 8
"""What a busy machine may add to what takes no time, or at most two seconds, on an idle one."""


def start(engine: Engine, script: str, **given: object) -> Container:
    container = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, **given)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


ALONE = """
import ctypes, os, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
print("up", flush=True)
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)  # exit(2)
"""
"""Ends its first thread alone: the process is a zombie by name (proc(5)), and runs."""


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
    assert time.monotonic() - began < 1 + BUSY_S
    assert container.exit_code == 137


def test_rel18_a_handler_that_takes_its_time_is_waited_for(engine: Engine) -> None:
    container = start(engine, "trap 'sleep 1.5; echo tidy; exit 7' TERM; echo up; while :; do sleep 0.05; done")
    until(lambda: b"up" in container.logs())
    container.stop(timeout=60)
    assert (container.exit_code, container.logs()) == (7, b"up\ntidy\n")


@pytest.mark.parametrize("word", ["SIGRTMIN+3", "37", "USR2"])
def test_rel18_stop_with_a_signal_of_its_own(engine: Engine, word: str) -> None:
    number = 12 if word == "USR2" else 37
    container = start(engine, f"trap 'exit 9' {number}; trap '' TERM; echo up; while :; do sleep 0.05; done", stop_signal=word)
    until(lambda: b"up" in container.logs())
    container.stop(timeout=60)
    assert container.exit_code == 9


def test_rel18_a_first_process_whose_first_thread_is_a_zombie(engine: Engine) -> None:
    container = engine.containers.run("localhost/python", ["python3", "-c", ALONE], network="none", detach=True)
    assert isinstance(container, Container)
    until(lambda: "Z" in processes.states(container.state.pid) and b"up" in container.logs(), 30)
    container.reload()
    assert container.status == "running"
    began = time.monotonic()
    container.stop(timeout=1)
    assert time.monotonic() - began < 1 + BUSY_S
    assert (container.status, container.exit_code) == ("exited", 137)


def test_rel19_ten_thousand_orphans_and_an_init(engine: Engine) -> None:
    script = "i=0; while [ $i -lt 10000 ]; do (true &); i=$((i+1)); done; sleep 0.5; ps -o stat= | grep -c '^Z'; true"
    container = start(engine, script, init=True)
    assert container.wait(timeout=200)["StatusCode"] == 0
    assert int(container.logs()) < 10


def test_rel19_orphans_of_a_first_process_that_never_waits_are_gone_with_it(engine: Engine) -> None:
    script = "i=0; while [ $i -lt 1000 ]; do (sleep 0.01 &); i=$((i+1)); done; exec sleep 1000"
    container = start(engine, script)
    until(lambda: processes.name_of(container.state.pid) == "sleep" and _zombies_of(container.state.pid) > 0, 60)
    pids = [(pid, processes.start_time(pid)) for pid in container._parts.runtime.pids(container.id)]
    container.stop(timeout=0)
    container.remove()
    assert not any(processes.start_time(pid) == started for pid, started in pids)  # no zombie either
    assert _zombies_of(os.getpid()) == 0


def test_rel19_what_daemonises_is_reaped_by_the_monitor(engine: Engine) -> None:
    """Without a pid namespace of its own, what loses its parent comes to the monitor."""
    script = "i=0; while [ $i -lt 300 ]; do (setsid sh -c 'sleep 0.01 &' &); i=$((i+1)); done; echo up; exec sleep 1000"
    container = start(engine, script, pid_mode="host")
    until(lambda: b"up" in container.logs(), 60)
    until(lambda: len(container._parts.runtime.pids(container.id)) == 1, 30)
    until(lambda: _zombies_of(container.state.monitor_pid) == 0, 30)
    container.stop(timeout=0)


def test_rel18_hundreds_of_processes_that_ignore_it(engine: Engine) -> None:
    container = start(engine, "trap '' TERM; i=0; while [ $i -lt 500 ]; do sleep 1000 & i=$((i+1)); done; echo up; wait")
    until(lambda: b"up" in container.logs(), 30)
    pids = [(pid, processes.start_time(pid)) for pid in container._parts.runtime.pids(container.id)]
    assert len(pids) > 500
    began = time.monotonic()
    container.stop(timeout=1)
    assert time.monotonic() - began < 1 + BUSY_S
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
    container = start(engine, "[ -e /mark ] && echo again && exit 3; touch /mark; echo first; sleep 1000")
    until(lambda: b"first" in container.logs())
    state = container.state
    os.kill(state.monitor_pid, signal.SIGKILL)
    until(lambda: _status(container) == "exited", 2 + BUSY_S)
    assert not processes.alive(state.pid, state.pid_started)
    assert container.exit_code == 137
    assert "lost" in container.state.error
    container.start()
    assert container.wait(timeout=200)["StatusCode"] == 3
    assert container.logs() == b"first\nagain\n"


def test_rel31_a_crash_loop_backs_off_and_costs_little(engine: Engine) -> None:
    container = start(engine, "date +%s.%N; exit 1", restart_policy={"Name": "always"})
    monitor = container.state.monitor_pid
    until(lambda: _restarts(container) >= 4, 20)
    spent = _cpu_s(monitor)
    time.sleep(1)  # between the fifth life and the sixth there are 1.6 seconds and more
    assert _cpu_s(monitor) - spent < 0.1
    lives = [line.time for line in container.log_lines()]
    waits = [later - earlier for earlier, later in pairwise(lives)]
    assert all(wait >= 0.1 * 2**number for number, wait in enumerate(waits)), waits
    container.stop(timeout=0)
    assert container.status == "exited"
    count = _restarts(container)
    time.sleep(0.3)
    assert _restarts(container) == count


def _zombies_of(pid: int) -> int:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [processes.states(int(child)) for child in file.read().split()].count({"Z"})


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

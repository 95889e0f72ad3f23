"""Health checks run by the monitor, whoever lives besides it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_containers.linux import process as processes
from notebook_containers.runtime import health as healths
from notebook_containers.runtime.bundle import MonitorOptions
from notebook_containers.runtime.loop import Loop
from notebook_containers.runtime.state import ContainerState, HealthState
from tests.runtime.boxes import Box, change_process, spec_for

pytestmark = pytest.mark.root

SECOND = 10**9


def started(box: Box, args: list[str], command: str = "sleep 1000", **given: object) -> str:
    check = {"args": args, "interval": SECOND // 5, "timeout": SECOND * 2, "retries": 2, **given}
    identity = box.create(spec_for(["/bin/sh", "-c", command]), MonitorOptions(health=check))
    box.runtime.start(identity)
    return identity


def until(box: Box, identity: str, fits: Callable[[HealthState], bool], timeout_s: float = 10) -> ContainerState:
    deadline = time.monotonic() + timeout_s
    while True:
        state = box.runtime.state(identity)
        assert state.health is not None
        if fits(state.health):
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.02)


def test_a_check_that_succeeds_is_healthy(box: Box) -> None:
    identity = started(box, ["/bin/sh", "-c", "echo fine; id -u"])
    first = box.runtime.state(identity).health
    assert first is not None
    assert (first.status, first.log) == ("starting", ())
    state = until(box, identity, lambda h: h.status == "healthy")
    assert state.health is not None
    assert (state.health.failing_streak, state.health.log[-1].exit_code, state.health.log[-1].output) == (0, 0, "fine\n0\n")
    assert state.health.log[-1].start < state.health.log[-1].end
    assert state.health.log[-1].start.endswith("Z")


def test_unhealthy_after_so_many_failures_and_healthy_again_without_a_restart(box: Box) -> None:
    identity = started(box, ["/bin/sh", "-c", "echo no; test -e /ok"])
    pid = box.runtime.state(identity).pid
    state = until(box, identity, lambda h: h.status == "unhealthy")
    assert state.health is not None
    assert state.health.failing_streak >= 2
    Path(f"/proc/{pid}/root/ok").touch()
    state = until(box, identity, lambda h: h.status == "healthy")
    assert (state.pid, state.restart_count, state.status) == (pid, 0, "running")


def test_five_results_and_4096_bytes_of_each_are_kept(box: Box) -> None:
    identity = started(box, ["/bin/sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x; echo end"], interval=SECOND // 50)
    state = until(box, identity, lambda h: len(h.log) == 5)
    last = state.health.log[-1].start if state.health else ""
    state = until(box, identity, lambda h: h.log[-1].start > last)
    assert state.health is not None
    assert len(state.health.log) == 5
    assert {result.output for result in state.health.log} == {"x" * 4096}


def test_a_check_that_takes_too_long_is_killed_with_what_it_started(box: Box) -> None:
    identity = started(box, ["/bin/sh", "-c", "echo begun; sleep 777 & wait"], timeout=SECOND // 5, retries=1)
    state = until(box, identity, lambda h: h.status == "unhealthy")
    assert state.health is not None
    assert (state.health.log[0].exit_code, state.health.log[0].output) == (-1, "Health check exceeded timeout (0.2s): begun\n")
    deadline = time.monotonic() + 5
    while any(b"777" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in box.runtime.pids(identity) if pid != state.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the next check may be on its way


def test_a_check_that_is_no_command_fails_with_the_reason(box: Box) -> None:
    identity = started(box, ["/nowhere"], retries=1)
    state = until(box, identity, lambda h: h.status == "unhealthy")
    assert state.health is not None
    assert state.health.log[0].exit_code == -1
    assert "/nowhere: no such file" in state.health.log[0].output


def test_failures_in_the_start_period_do_not_count_but_success_does(box: Box) -> None:
    check = ["/bin/test", "-e", "/ok"]
    identity = started(box, check, startPeriod=60 * SECOND, startInterval=SECOND // 20, interval=60 * SECOND, retries=1)
    state = until(box, identity, lambda h: len(h.log) >= 3)
    assert state.health is not None
    assert (state.health.status, state.health.failing_streak) == ("starting", 0)
    Path(f"/proc/{state.pid}/root/ok").touch()
    until(box, identity, lambda h: h.status == "healthy")


def test_checks_stand_still_while_it_is_paused_and_end_with_it(box: Box) -> None:
    spec = spec_for(["/bin/sleep", "1000"])
    assert spec.linux is not None
    spec = replace(spec, linux=replace(spec.linux, cgroups_path=f"notebook-containers-test/{os.getpid()}-health"))
    identity = box.create(spec, MonitorOptions(health={"args": ["/bin/true"], "interval": SECOND // 20}))
    box.runtime.start(identity)
    until(box, identity, lambda h: h.status == "healthy")
    box.runtime.pause(identity)
    time.sleep(0.2)
    before = box.runtime.state(identity).health
    time.sleep(0.3)
    assert box.runtime.state(identity).health == before
    box.runtime.resume(identity)
    until(box, identity, lambda h: before is not None and h.log[-1].start > before.log[-1].start)
    box.runtime.kill(identity, 9)
    box.runtime.wait(identity, timeout_s=5)
    assert box.runtime.state(identity).health is not None


def test_it_has_the_containers_user_environment_and_rights(box: Box) -> None:
    check = {"args": ["/bin/sh", "-c", "echo $WORD; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status"], "interval": SECOND // 5}
    spec = change_process(spec_for(["/bin/sleep", "100"]), env=("PATH=/bin", "WORD=said"))
    identity = box.create(spec, MonitorOptions(health=check))
    box.runtime.start(identity)
    state = until(box, identity, lambda h: h.status == "healthy")
    assert state.health is not None
    lines = state.health.log[0].output.split()
    own = Path(f"/proc/{state.pid}/status").read_text()
    assert lines[0] == "said"
    assert lines[2] in own
    assert "NoNewPrivs:" in lines
    assert lines[lines.index("NoNewPrivs:") + 1] == "1"


def test_the_monitor_goes_on_checking_when_the_engine_is_gone_and_sleeps_between(box: Box) -> None:
    identity = started(box, ["/bin/true"], interval=SECOND)
    box.runtime.close()
    state = until(box, identity, lambda h: h.status == "healthy")
    assert processes.alive(state.monitor_pid, state.monitor_started)

    def woken() -> int:
        status = Path(f"/proc/{state.monitor_pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("voluntary_ctxt")))

    time.sleep(0.1)
    before = woken()
    time.sleep(0.6)  # between two checks nothing wakes it
    assert woken() - before <= 1


def test_a_restart_starts_over(box: Box) -> None:
    check = {"args": ["/bin/true"], "interval": SECOND // 10}
    identity = box.create(spec_for(["/bin/sh", "-c", "sleep 1000"]), MonitorOptions(health=check, restart="always"))
    box.runtime.start(identity)
    first = until(box, identity, lambda h: h.status == "healthy")
    os.kill(first.pid, 9)
    deadline = time.monotonic() + 5
    while box.runtime.state(identity).restart_count == 0 or box.runtime.state(identity).status != "running":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    until(box, identity, lambda h: h.status == "healthy" and len(h.log) > 0)


def test_dockers_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    check = healths.Health({"args": ["x"]}, Loop(), lambda _status: None)
    check.begin()
    assert check.due() == 1030.0
    patient = healths.Health({"args": ["x"], "startPeriod": SECOND}, Loop(), lambda _status: None)
    patient.begin()
    assert patient.due() == 1005.0
    none = healths.Health({}, Loop(), lambda _status: None)
    none.begin()
    assert (none.due(), none.exists()) == (0.0, False)

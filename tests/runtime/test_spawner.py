"""The process that is forked ahead: it is there, it is replaced, and it goes when its spawner or its engine goes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.errors import StartFailed
from notebook_containers.linux import process as processes
from tests.runtime.boxes import Box, collect, spec_for

pytestmark = pytest.mark.root


def spawner(box: Box) -> int:
    return box.runtime._starter.pid()


def spares(box: Box) -> list[int]:
    pid = spawner(box)
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if processes.name_of(child) == "nbc-spare"]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_one_waits_before_the_first_container_and_after_each(box: Box) -> None:
    box.runtime.warm()
    until(lambda: len(spares(box)) == 1)
    (first,) = spares(box)
    assert box.sh("echo hello") == (0, "hello\n")
    until(lambda: len(spares(box)) == 1)
    assert spares(box) != [first]


def test_the_spare_becomes_the_monitor(box: Box) -> None:
    box.runtime.warm()
    until(lambda: spares(box))
    (spare,) = spares(box)
    identity = box.create(spec_for(["/bin/true"]))
    state = box.runtime.state(identity)
    assert state.monitor_pid == spare
    assert processes.name_of(spare) == "nbc-monitor"
    assert [os.readlink(f"/proc/{spare}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3


def test_a_monitor_outlives_a_killed_spawner_and_the_spare_does_not(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "sleep 0.3; exit 4"]))
    box.runtime.start(identity)
    until(lambda: spares(box))
    (spare,) = spares(box)
    started = processes.start_time(spare)
    os.kill(spawner(box), signal.SIGKILL)
    assert processes.wait_gone(spare, started, 5)
    assert box.runtime.wait(identity, timeout_s=5) == 4


def test_a_killed_spare_is_replaced(box: Box) -> None:
    box.runtime.warm()
    for _ in range(3):
        until(lambda: spares(box))
        (spare,) = spares(box)
        os.kill(spare, signal.SIGKILL)
        until(lambda spare=spare: spares(box) not in ([], [spare]))  # type: ignore[misc]
    assert box.sh("echo again") == (0, "again\n")


def test_nothing_of_it_is_left_when_the_engine_closes(box: Box) -> None:
    box.runtime.warm()
    until(lambda: spares(box))
    known = [(pid, processes.start_time(pid)) for pid in (spawner(box), *spares(box))]
    box.runtime.close()
    assert [pid for pid, started in known if processes.start_time(pid) == started] == []


def test_making_and_starting_in_one_request(box: Box) -> None:
    identity, bundle = box.bundle(spec_for(["/bin/sh", "-c", "echo out; exit 3"]))
    session = box.runtime.run(identity, bundle, attach=True)
    assert session is not None
    with session:
        assert collect(session) == (3, "out\n")
    assert box.runtime.wait(identity) == 3


def test_a_command_that_cannot_start_leaves_nothing(box: Box) -> None:
    identity, bundle = box.bundle(spec_for(["/bin/nothing"]))
    with pytest.raises(StartFailed) as caught:
        box.runtime.run(identity, bundle, attach=True)
    assert caught.value.exit_status == 127
    assert box.runtime.ids() == []
    assert not (box.directory / "run/c" / identity[:12]).exists()


def test_input_over_the_connection_that_asked_for_the_container(box: Box) -> None:
    from notebook_containers.runtime.bundle import MonitorOptions

    identity, bundle = box.bundle(spec_for(["/bin/cat"]), MonitorOptions(stdin_open=True))
    with box.runtime.make(identity, bundle) as made:
        assert made.state.status == "created"
        session = made.start(attach=True, stdin=True)
        assert session is not None
        session.write(b"in and out\n")
        session.close_stdin()
        assert collect(session) == (0, "in and out\n")

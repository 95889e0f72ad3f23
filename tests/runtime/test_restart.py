"""Restart policies."""

from __future__ import annotations

import os
import signal
import time

import pytest

from notebook_containers.runtime.bundle import MonitorOptions
from notebook_containers.runtime.restarts import Restarts
from notebook_containers.runtime.state import ContainerState
from tests.runtime.boxes import Box, spec_for

pytestmark = pytest.mark.root


def wait_for(box: Box, identity: str, count: int, status: str = "running", timeout_s: float = 10) -> ContainerState:
    deadline = time.monotonic() + timeout_s
    while True:
        state = box.runtime.state(identity)
        if state.restart_count >= count and state.status == status:
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.02)


def test_on_failure_restarts_so_many_times_and_tells_the_last_code(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "echo run; exit 3"]), MonitorOptions(restart="on-failure", restart_max=2))
    start = time.monotonic()
    box.runtime.start(identity)
    assert box.runtime.wait(identity, timeout_s=10) == 3
    assert time.monotonic() - start >= 0.3  # 0.1 and 0.2 seconds between
    assert box.runtime.state(identity).restart_count == 2
    assert (box.path(identity) / "container.log").read_bytes().count(b"run") == 3


def test_success_is_no_failure(box: Box) -> None:
    identity = box.create(spec_for(["/bin/true"]), MonitorOptions(restart="on-failure"))
    box.runtime.start(identity)
    assert box.runtime.wait(identity, timeout_s=5) == 0
    assert box.runtime.state(identity).restart_count == 0


def test_always_goes_on_until_it_is_killed_on_purpose(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sleep", "100"]), MonitorOptions(restart="always"))
    box.runtime.start(identity)
    first = box.runtime.state(identity)
    os.kill(first.pid, signal.SIGKILL)  # not through us: an accident
    second = wait_for(box, identity, 1)
    assert second.pid != first.pid
    box.runtime.kill(identity, signal.SIGKILL)
    assert box.runtime.wait(identity, timeout_s=5) == 137


def test_a_stop_between_two_lives_ends_it(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "exit 3"]), MonitorOptions(restart="always"))
    box.runtime.start(identity)
    wait_for(box, identity, 3, "restarting")
    box.runtime.kill(identity, signal.SIGTERM)
    assert box.runtime.wait(identity, timeout_s=5) == 3


def test_a_command_that_cannot_start_is_not_tried_again(box: Box) -> None:
    from notebook_containers.errors import StartFailed

    identity = box.create(spec_for(["/bin/nowhere"]), MonitorOptions(restart="always"))
    with pytest.raises(StartFailed):
        box.runtime.start(identity)
    assert box.runtime.wait(identity, timeout_s=5) == 127


def test_the_network_namespace_outlives_a_restart(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sleep", "100"]), MonitorOptions(restart="always"))
    box.runtime.start(identity)
    first = box.runtime.state(identity)
    network, mount = os.readlink(f"/proc/{first.pid}/ns/net"), os.readlink(f"/proc/{first.pid}/ns/mnt")
    os.kill(first.pid, signal.SIGKILL)
    second = wait_for(box, identity, 1)
    assert os.readlink(f"/proc/{second.pid}/ns/net") == network
    assert os.readlink(f"/proc/{second.pid}/ns/mnt") != mount or second.pid != first.pid


def test_files_outlive_a_restart_and_clients_stay_attached(box: Box) -> None:
    script = "echo x >> /count; n=$(wc -l < /count); echo life $n; [ $n -ge 3 ] && exit 0; exit 1"
    identity = box.create(spec_for(["/bin/sh", "-c", script]), MonitorOptions(restart="on-failure"))
    with box.runtime.attach(identity) as session:
        box.runtime.start(identity)
        assert b"".join(data for _stream, data in session) == b"life 1\nlife 2\nlife 3\n"
    assert session.exit_code == 0


@pytest.mark.parametrize(
    ("policy", "most", "codes", "lives"),
    [
        ("no", 0, [1], 1),
        ("always", 0, [0, 1, 0, 137, 0], 6),
        ("unless-stopped", 0, [0, 1, 0, 137, 0], 6),
        ("on-failure", 0, [1, 2, 137, 0], 4),
        ("on-failure", 3, [1, 1, 1, 1, 1], 4),
        ("on-failure", 3, [0], 1),
    ],
)
def test_rel31_which_policy_wants_another_life(policy: str, most: int, codes: list[int], lives: int) -> None:
    restarts = Restarts()
    for code in codes:
        if not restarts.wanted({"restart": policy, "restartMax": most}, code):
            break
        restarts.next(0.0)
    assert restarts.count + 1 == lives


def test_rel31_the_wait_doubles_to_a_minute_and_begins_anew_after_ten_good_seconds() -> None:
    restarts = Restarts()
    waits = [restarts.next(0.0) for _ in range(12)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60])
    assert [restarts.next(ran_s) for ran_s in (9.9, 10.0, 0.0, 11.0)] == pytest.approx([60, 0.1, 0.2, 0.1])
    assert restarts.count == 16

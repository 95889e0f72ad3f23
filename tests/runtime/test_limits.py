"""Containers in their cgroup: limits, out of memory, pause, killing everything."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_containers.errors import Conflict, RuntimeFailure, Unsupported
from notebook_containers.oci.runtime import BlockIO, Memory, Pids, Resources, Spec, ThrottleDevice
from notebook_containers.runtime.bundle import MonitorOptions
from tests import groups
from tests.runtime.boxes import Box, spec_for
from tests.runtime.test_exec import execute, output

pytestmark = pytest.mark.root

PARENT = f"nbc-test-{os.getpid()}"


def limited(spec: Spec, resources: Resources | None = None) -> Spec:
    assert spec.linux is not None
    name = f"{PARENT}/{os.urandom(4).hex()}"
    return replace(spec, linux=replace(spec.linux, cgroups_path=name, resources=resources or Resources(memory=Memory(limit=64 << 20))))


def ours() -> list[Path]:
    return groups.named(lambda name: name == PARENT)


@pytest.fixture(autouse=True)
def _nothing_left(box: Box) -> Iterator[None]:
    yield
    box.close()
    assert ours() == []


def test_the_container_is_in_its_cgroup_and_sees_it_as_the_root(box: Box) -> None:
    identity = box.create(limited(spec_for(["/bin/sleep", "100"])))
    box.runtime.start(identity)
    state = box.runtime.state(identity)
    assert state.warnings == ()
    assert all(
        PARENT in line for line in Path(f"/proc/{state.pid}/cgroup").read_text().splitlines() if ":memory:" in line or ":pids:" in line
    )
    code, data = output(execute(box, identity, "cat", "/proc/self/cgroup"))
    assert code == 0
    assert {line.split(b":", 2)[2] for line in data.splitlines() if b":memory:" in line or b":pids:" in line or line.startswith(b"0:")} == {
        b"/"
    }


def test_rt16_the_cgroup_filesystem_is_read_only(box: Box) -> None:
    files = "find /sys/fs/cgroup -name cgroup.procs -o -name release_agent -o -name devices.allow"
    script = f"for f in $({files}); do (echo 0 > $f) 2>/dev/null && echo $f; done; true"
    assert box.run(limited(spec_for(["/bin/sh", "-c", script]))) == (0, "")


def test_out_of_memory_is_told(box: Box) -> None:
    identity = box.create(limited(spec_for(["/bin/sh", "-c", "exec tail /dev/zero"])))
    box.runtime.start(identity)
    assert box.runtime.wait(identity, timeout_s=30) == 137
    assert box.runtime.state(identity).oom_killed


def test_a_limit_that_the_kernel_refuses_is_an_error_and_leaves_nothing(box: Box) -> None:
    nowhere = BlockIO(read_bps=(ThrottleDevice(major=4000, minor=1, rate=1 << 20),))
    with pytest.raises(RuntimeFailure, match="No such device"):
        box.create(limited(spec_for(["/bin/true"]), Resources(block_io=nowhere)))
    assert ours() == []


def test_a_kill_is_not_out_of_memory(box: Box) -> None:
    identity = box.create(limited(spec_for(["/bin/sleep", "100"])))
    box.runtime.start(identity)
    box.runtime.kill(identity, signal.SIGKILL)
    assert box.runtime.wait(identity, timeout_s=5) == 137
    assert not box.runtime.state(identity).oom_killed


def test_the_number_of_processes_is_limited(box: Box) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; wait"
    code, text = box.run(limited(spec_for(["/bin/sh", "-c", script]), Resources(pids=Pids(limit=5))))
    assert code != 0
    assert "fork" in text


def test_a_process_of_exec_is_in_the_cgroup_too(box: Box) -> None:
    identity = box.create(limited(spec_for(["/bin/sleep", "100"])))
    box.runtime.start(identity)
    session = execute(box, identity, "sleep", "100")
    assert len(box.runtime.pids(identity)) == 2
    session.close()


def test_pause_stops_everything_and_resume_goes_on(box: Box) -> None:
    identity = box.create(limited(spec_for(["/bin/sh", "-c", "while :; do echo x >> /tmp/i; sleep 0.01; done"])))
    box.runtime.start(identity)
    counter = Path(f"/proc/{box.runtime.state(identity).pid}/root/tmp/i")
    time.sleep(0.2)
    with pytest.raises(Conflict, match="running, not paused"):
        box.runtime.resume(identity)
    box.runtime.pause(identity)
    assert box.runtime.state(identity).status == "paused"
    with pytest.raises(Conflict, match="paused"):
        execute(box, identity, "true")
    before = counter.stat().st_size
    time.sleep(0.3)
    assert counter.stat().st_size == before
    box.runtime.resume(identity)
    time.sleep(0.3)
    assert counter.stat().st_size != before
    assert box.runtime.state(identity).status == "running"


def test_a_paused_container_is_killed_and_deleted(box: Box) -> None:
    identity = box.create(limited(spec_for(["/bin/sleep", "100"])))
    box.runtime.start(identity)
    box.runtime.pause(identity)
    box.runtime.kill(identity, signal.SIGKILL)
    assert box.runtime.wait(identity, timeout_s=10) == 137


def test_pausing_without_a_cgroup_is_said_to_be_impossible(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sleep", "100"]))
    box.runtime.start(identity)
    with pytest.raises(Unsupported, match="cgroup"):
        box.runtime.pause(identity)


def test_kill_all_reaches_every_process(box: Box) -> None:
    script = "trap 'echo one' USR1; sh -c 'trap \"echo two\" USR1; echo ready; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done' & wait; wait"
    identity = box.create(limited(spec_for(["/bin/sh", "-c", script])))
    with box.runtime.attach(identity) as session:
        box.runtime.start(identity)
        seen = b""
        for _stream, data in session:
            if b"ready" in data:
                box.runtime.kill(identity, signal.SIGUSR1, all=True)
            seen += data
    assert b"one" in seen
    assert b"two" in seen


def test_the_cgroup_of_a_killed_monitor_is_removed_by_delete(box: Box) -> None:
    identity = box.create(limited(spec_for(["/bin/sleep", "100"])))
    box.runtime.start(identity)
    state = box.runtime.state(identity)
    os.kill(state.monitor_pid, signal.SIGKILL)
    box.runtime.wait(identity, timeout_s=5)
    assert ours() != []
    box.runtime.delete(identity)


def test_what_a_process_outside_its_pid_namespace_left_is_killed(box: Box) -> None:
    spec = limited(spec_for(["/bin/sh", "-c", f"setsid sleep 4{os.getpid()} & echo x"]))
    assert spec.linux is not None
    spec = replace(spec, linux=replace(spec.linux, namespaces=tuple(ns for ns in spec.linux.namespaces if ns.type != "pid")))
    assert box.run(spec)[0] == 0
    assert subprocess.run(["pgrep", "-f", f"sleep 4{os.getpid()}"], capture_output=True, check=False).stdout == b""


def test_a_created_container_that_never_starts_leaves_nothing(box: Box) -> None:
    identity = box.create(limited(spec_for(["/bin/sleep", "100"])), MonitorOptions())
    box.runtime.delete(identity, force=True)

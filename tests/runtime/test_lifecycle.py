"""The verbs, as root, on the real kernel."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from notebook_containers.errors import Conflict, ContainerNotFound, InvalidArgument, RuntimeFailure, StartFailed
from notebook_containers.linux import process as processes
from notebook_containers.oci.runtime import Mount
from notebook_containers.runtime.bundle import Bundle, MonitorOptions
from notebook_containers.runtime.lifecycle import Runtime
from tests.runtime.boxes import Box, change_process, collect, spec_for

pytestmark = pytest.mark.root

SLEEP = ["/bin/sleep", "1000"]
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"]


def test_a_command_runs_and_its_exit_code_and_output_come_back(box: Box) -> None:
    assert box.sh("echo hello; exit 7") == (7, "hello\n")


def test_the_two_streams_are_told_apart(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "echo out; echo wrong >&2"]))
    with box.runtime.attach(identity) as session:
        box.runtime.start(identity)
        parts = dict(session)
    assert parts == {"stdout": b"out\n", "stderr": b"wrong\n"}


def test_states_from_created_to_stopped(box: Box) -> None:
    before = time.time()
    identity, bundle = box.bundle(spec_for(["/bin/sh", "-c", "exit 3"]))
    created = box.runtime.create(identity, bundle)
    assert (created.status, created.exit_code, created.live()) == ("created", None, True)
    assert Path(f"/proc/{created.pid}/ns/net").exists()
    box.runtime.start(identity)
    assert box.runtime.wait(identity) == 3
    state = box.runtime.state(identity)
    assert (state.status, state.exit_code, state.pid, state.oom_killed) == ("stopped", 3, 0, False)
    assert state.started_at is not None
    assert state.finished_at is not None
    assert before <= state.created_at <= state.started_at <= state.finished_at <= time.time()
    assert json.loads((bundle.path / "exit.json").read_text())["exitCode"] == 3


@pytest.mark.parametrize("code", [0, 1, 42, 125, 255])
def test_exit_codes_are_the_command_s(box: Box, code: int) -> None:
    assert box.sh(f"exit {code}")[0] == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1, 34])
def test_a_signal_ends_it_with_128_and_its_number(box: Box, number: int) -> None:
    # a first process ignores what it does not handle (pid_namespaces(7)), so the shell's child dies of it and the shell passes it on
    assert box.sh(f"sh -c 'kill -{int(number)} $$'; exit $?")[0] == 128 + number


def test_kill_ends_a_running_container_and_a_second_kill_says_so(box: Box) -> None:
    identity = box.create(spec_for(STUBBORN))
    box.runtime.start(identity)
    box.runtime.kill(identity, signal.SIGTERM)
    with pytest.raises(TimeoutError):
        box.runtime.wait(identity, timeout_s=0.3)
    box.runtime.kill(identity, signal.SIGKILL)
    assert box.runtime.wait(identity, timeout_s=5) == 137
    with pytest.raises(Conflict, match="not running"):
        box.runtime.kill(identity, signal.SIGKILL)
    with pytest.raises(InvalidArgument):
        box.runtime.kill(identity, 0)


def test_wait_from_several_threads_gets_the_same_code(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "sleep 0.3; exit 5"]))
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(box.runtime.wait(identity))) for _ in range(4)]
    for thread in threads:
        thread.start()
    box.runtime.start(identity)
    for thread in threads:
        thread.join(10)
    assert codes == [5, 5, 5, 5]
    assert box.runtime.wait(identity) == 5


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        (["nowhere"], 127, "command nowhere: not found in the container's PATH"),
        (["/bin/nowhere"], 127, "no such file in the container"),
        (["/etc/passwd"], 126, "permission denied"),
        (["/etc"], 126, "it is a directory"),
        (["/tmp/script"], 126, "its interpreter /bin/perl9 is missing"),
        (["/tmp/text"], 126, "it is no program"),
        (["/tmp/arm"], 126, "it is made for another machine"),
    ],
)
def test_a_command_that_cannot_start_is_told_with_its_reason(box: Box, args: list[str], status: int, text: str, tmp_path: Path) -> None:
    tree = tmp_path / "files"
    tree.mkdir()
    for name, data in (
        ("script", b"#!/bin/perl9\n"),
        ("text", b"hello\n"),
        ("arm", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(60)),
    ):
        (tree / name).write_bytes(data)
        (tree / name).chmod(0o755)
    spec = spec_for(args)
    from dataclasses import replace

    spec = replace(spec, mounts=(*spec.mounts, Mount(destination="/tmp", type="bind", source=str(tree), options=("rbind", "ro"))))
    identity = box.create(spec)
    with pytest.raises(StartFailed, match=text) as caught:
        box.runtime.start(identity)
    assert caught.value.exit_status == status
    assert box.runtime.wait(identity, timeout_s=5) == status
    assert text in box.runtime.state(identity).error


def test_a_failing_step_is_named_and_nothing_is_left(box: Box) -> None:
    from dataclasses import replace

    spec = spec_for(["/bin/true"])
    identity, bundle = box.bundle(
        replace(spec, mounts=(*spec.mounts, Mount(destination="/x", type="bind", source="/nowhere", options=("bind",))))
    )
    with pytest.raises(RuntimeFailure, match=r"cannot mount /x \(/nowhere\): .*No such file"):
        box.runtime.create(identity, bundle)
    with pytest.raises(ContainerNotFound):
        box.runtime.state(identity)
    assert list((box.directory / "run/c").iterdir()) == []
    assert str(bundle.path) not in Path("/proc/self/mountinfo").read_text()


def test_an_id_is_taken_until_its_container_is_over_and_can_then_run_again(box: Box) -> None:
    identity, bundle = box.bundle(spec_for(["/bin/sh", "-c", "exit 4"]))
    box.runtime.create(identity, bundle)
    with pytest.raises(Conflict, match="exists and is created"):
        box.runtime.create(identity, bundle)
    box.runtime.start(identity)
    assert box.runtime.wait(identity) == 4
    box.runtime.create(identity, bundle)
    assert box.runtime.state(identity).exit_code is None
    box.runtime.start(identity)
    assert box.runtime.wait(identity) == 4
    with pytest.raises(Conflict, match=r"stopped, not created|not running"):
        box.runtime.start(identity)


def test_delete_needs_force_for_a_running_container_and_leaves_no_process(box: Box) -> None:
    identity = box.create(spec_for(SLEEP))
    box.runtime.start(identity)
    state = box.runtime.state(identity)
    with pytest.raises(Conflict, match="running"):
        box.runtime.delete(identity)
    box.runtime.delete(identity, force=True)
    assert not processes.alive(state.pid, state.pid_started)
    assert not processes.alive(state.monitor_pid, state.monitor_started)
    assert list((box.directory / "run/c").iterdir()) == []
    with pytest.raises(ContainerNotFound):
        box.runtime.state(identity)
    with pytest.raises(ContainerNotFound):
        box.runtime.delete(identity)


def test_delete_of_a_created_container(box: Box) -> None:
    identity = box.create(spec_for(SLEEP))
    box.runtime.delete(identity, force=True)
    with pytest.raises(ContainerNotFound):
        box.runtime.state(identity)


def test_another_runtime_on_the_same_directory_controls_it(box: Box) -> None:
    identity = box.create(spec_for(SLEEP))
    box.runtime.start(identity)
    box.runtime.close()
    other = Runtime(box.directory / "run")
    assert other.state(identity).status == "running"
    other.kill(identity, signal.SIGKILL)
    assert other.wait(identity, timeout_s=5) == 137
    other.close()


def test_a_container_outlives_the_engine_that_was_killed(box: Box, tmp_path: Path) -> None:
    identity, bundle = box.bundle(spec_for(["/bin/sh", "-c", "while [ ! -e /tmp/stop ]; do sleep 0.05; done; echo survived; exit 6"]))
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from notebook_containers.runtime.lifecycle import Runtime; from notebook_containers.runtime.bundle import Bundle\n"
        f"r = Runtime(Path({str(box.directory / 'run')!r}))\n"
        f"r.create({identity!r}, Bundle(path=Path({str(bundle.path)!r}))); r.start({identity!r})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, check=False, timeout=30
    )
    assert done.returncode == -signal.SIGKILL
    state = box.runtime.state(identity)
    assert state.status == "running"
    Path(f"/proc/{state.pid}/root/tmp/stop").touch()
    assert box.runtime.wait(identity, timeout_s=10) == 6
    assert (bundle.path / "container.log").read_bytes().endswith(b"stdout F survived\n")


def test_the_container_of_a_killed_monitor_ends_and_is_said_to_be_lost(box: Box) -> None:
    identity = box.create(spec_for(SLEEP))
    box.runtime.start(identity)
    state = box.runtime.state(identity)
    os.kill(state.monitor_pid, signal.SIGKILL)
    assert processes.wait_gone(state.pid, state.pid_started, 5)
    found = box.runtime.state(identity)
    assert (found.status, found.exit_code) == ("stopped", 137)
    assert found.error.startswith("lost")
    assert box.runtime.wait(identity, timeout_s=5) == 137
    box.runtime.delete(identity)


def test_waiting_while_the_monitor_is_killed_ends(box: Box) -> None:
    identity = box.create(spec_for(SLEEP))
    box.runtime.start(identity)
    timer = threading.Timer(0.2, os.kill, (box.runtime.state(identity).monitor_pid, signal.SIGKILL))
    timer.start()
    assert box.runtime.wait(identity, timeout_s=10) == 137


def test_after_a_restart_of_the_machine_the_bundle_tells_the_end(box: Box) -> None:
    identity, bundle = box.bundle(spec_for(["/bin/sh", "-c", "exit 9"]))
    box.runtime.create(identity, bundle)
    box.runtime.start(identity)
    box.runtime.wait(identity)
    box.runtime.delete(identity)
    assert box.runtime.state(identity, bundle.path).exit_code == 9
    (bundle.path / "exit.json").unlink()
    lost = box.runtime.state(identity, bundle.path)
    assert (lost.status, lost.exit_code) == ("stopped", 137)


def test_a_new_spawner_replaces_one_that_was_killed(box: Box) -> None:
    box.sh("true")
    spawner = box.runtime._starter._process
    assert spawner is not None
    spawner.kill()
    spawner.wait()
    assert box.sh("echo again") == (0, "again\n")


def test_a_terminated_monitor_ends_its_container_and_keeps_the_exit_code(box: Box) -> None:
    identity = box.create(spec_for(STUBBORN), MonitorOptions(restart="always"))
    box.runtime.start(identity)
    os.kill(box.runtime.state(identity).monitor_pid, signal.SIGTERM)
    assert box.runtime.wait(identity, timeout_s=5) == 137
    assert box.runtime.state(identity).error == ""


def test_orphans_in_the_container_are_gone_when_its_first_process_ends(box: Box) -> None:
    mark = f"7{os.getpid()}"
    assert box.sh(f"(setsid sleep {mark} &) ; sleep 0.1; exit 0")[0] == 0
    found = subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True, check=False)
    assert found.stdout == b""


def test_pids_are_the_container_s(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "sleep 100 & sleep 100; true"]))
    box.runtime.start(identity)
    deadline = time.monotonic() + 5
    while len(box.runtime.pids(identity)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(box.runtime.pids(identity)) == 3
    assert box.runtime.state(identity).pid in box.runtime.pids(identity)


def test_a_run_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o777)
    (tmp_path / "run").chmod(0o777)
    with pytest.raises(RuntimeFailure, match="of your own"):
        Runtime(tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(RuntimeFailure, match="of your own"):
        Runtime(tmp_path / "link")


@pytest.mark.parametrize("identity", ["", "../x", "a/b", "a\nb"])
def test_what_is_no_id_is_refused(box: Box, identity: str) -> None:
    with pytest.raises(InvalidArgument):
        box.runtime.state(identity)


def test_options_are_checked_when_the_bundle_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="restart policy"):
        Bundle.create(tmp_path / "b", spec_for(["x"]), (), MonitorOptions(restart="often"))
    with pytest.raises(InvalidArgument, match="no signal"):
        Bundle.create(tmp_path / "b", spec_for(["x"]), (), MonitorOptions(stop_signal="SIGNOTHING"))


def test_a_very_long_environment_and_argument_reach_the_command(box: Box) -> None:
    spec = change_process(spec_for(["/bin/sh", "-c", "echo ${#BIG} ${#1}", "sh", "y" * 100_000]), env=("BIG=" + "x" * 120_000, "PATH=/bin"))
    assert box.run(spec) == (0, "120000 100000\n")


def test_attach_between_create_and_start_gets_every_byte(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "seq 1 200000"]), MonitorOptions(log_max_bytes=100_000))
    with box.runtime.attach(identity) as session:
        box.runtime.start(identity)
        time.sleep(0.3)
        code, output = collect(session)
    assert code == 0
    assert output == "".join(f"{number}\n" for number in range(1, 200_001))


def test_what_a_killed_engine_left_half_made_can_be_made_again(box: Box) -> None:
    identity, bundle = box.bundle(spec_for(["/bin/true"]))
    directory = box.directory / "run/c" / identity[:12]
    directory.mkdir()
    with pytest.raises(Conflict, match="being created"):
        box.runtime.create(identity, bundle)
    os.utime(directory, (time.time() - 60,) * 2)
    box.runtime.create(identity, bundle)
    assert box.runtime.ids() == [identity]


def test_many_containers_at_once_from_many_threads(box: Box) -> None:
    results: list[tuple[int, str]] = []
    threads = [threading.Thread(target=lambda n=n: results.append(box.sh(f"echo {n}; exit {n}"))) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == [(n, f"{n}\n") for n in range(12)]


def test_a_monitor_killed_while_it_creates_leaves_nothing(box: Box) -> None:
    from dataclasses import replace

    spec = spec_for(["/bin/true"])
    # many mounts make the creation long enough to be hit
    more = tuple(Mount(destination=f"/m/{number}", type="tmpfs", source="tmpfs") for number in range(300))
    identity, bundle = box.bundle(replace(spec, mounts=(*spec.mounts, *more)))
    box.runtime.warm()
    spawner = box.runtime._starter._process
    assert spawner is not None

    def kill_first() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            children = Path(f"/proc/{spawner.pid}/task/{spawner.pid}/children").read_text().split()
            # not the spare that waits for a request: the one that has taken it
            if monitors := [int(pid) for pid in children if processes.name_of(int(pid)) == "nbc-monitor"]:
                time.sleep(0.01)
                os.kill(monitors[0], signal.SIGKILL)
                return

    killer = threading.Thread(target=kill_first)
    killer.start()
    with pytest.raises(RuntimeFailure, match="ended before it answered"):
        box.runtime.create(identity, bundle)
    killer.join()
    assert box.runtime.ids() == []
    assert str(bundle.path) not in Path("/proc/self/mountinfo").read_text()


def test_the_end_is_told_even_when_the_run_directory_was_removed(box: Box) -> None:
    identity = box.create(spec_for(SLEEP))
    state = box.runtime.state(identity)
    with box.runtime.attach(identity) as session:
        box.runtime.start(identity)
        shutil.rmtree(box.directory / "run/c" / identity[:12])
        os.kill(state.pid, signal.SIGKILL)
        assert collect(session)[0] == 137
    assert processes.wait_gone(state.monitor_pid, state.monitor_started, 5)
    assert box.runtime.state(identity, box.path(identity)).exit_code == 137


def test_a_removal_that_is_interrupted_leaves_no_half_container(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    identity, bundle = box.bundle(spec_for(SLEEP), None, None)
    box.runtime.create(identity, bundle)
    box.runtime.start(identity)
    place = box.directory / "run/c"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("notebook_containers.runtime.rundir.os.unlink", interrupted)
        with pytest.raises(KeyboardInterrupt):
            box.runtime.delete(identity, force=True)
    assert box.runtime.ids() == []
    assert [name for name in os.listdir(place) if not name.startswith(".")] == []
    box.runtime.create(identity, bundle)  # its name is free at once
    box.runtime.collect()
    assert os.listdir(place) == [identity[:12]]

"""Further processes in a running container."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from notebook_containers.errors import Conflict, StartFailed
from notebook_containers.linux import process as processes
from notebook_containers.oci.runtime import Process, User
from notebook_containers.runtime.sessions import ExecSession
from tests.runtime.boxes import ENV, Box, spec_for
from tests.runtime.test_streams import read_until

pytestmark = pytest.mark.root


@pytest.fixture
def running(box: Box) -> str:
    identity = box.create(spec_for(["/bin/sleep", "1000"]))
    box.runtime.start(identity)
    return identity


def execute(box: Box, identity: str, *args: str, user: User | None = None, cwd: str = "/", terminal: bool = False) -> ExecSession:
    session = box.runtime.exec(identity, Process(args=args, env=ENV, cwd=cwd, user=user or User(), terminal=terminal), stdin=True)
    assert session is not None
    return session


def output(session: ExecSession) -> tuple[int | None, bytes]:
    with session:
        data = b"".join(part for _stream, part in session)
    return session.exit_code, data


def test_exec_returns_output_and_exit_code(box: Box, running: str) -> None:
    assert output(execute(box, running, "sh", "-c", "echo in; exit 4")) == (4, b"in\n")


def test_exec_keeps_the_streams_apart_and_takes_input(box: Box, running: str) -> None:
    with execute(box, running, "sh", "-c", "cat; echo wrong >&2") as session:
        session.write(b"hello\n")
        session.close_stdin()
        assert dict(session) == {"stdout": b"hello\n", "stderr": b"wrong\n"}
        assert session.exit_code == 0


def test_exec_is_in_the_container_s_namespaces_and_sees_its_processes(box: Box, running: str) -> None:
    pid = box.runtime.state(running).pid
    code, data = output(
        execute(box, running, "sh", "-c", "for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; ps -o args")
    )
    lines = data.decode().splitlines()
    assert code == 0
    assert lines[:6] == [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup")]
    assert any("sleep 1000" in line for line in lines)


@pytest.mark.parametrize(("command", "status"), [("nowhere", 127), ("/etc/passwd", 126)])
def test_exec_of_what_cannot_start(box: Box, running: str, command: str, status: int) -> None:
    with pytest.raises(StartFailed) as caught:
        execute(box, running, command)
    assert caught.value.exit_status == status


def test_exec_in_a_missing_directory_is_an_error(box: Box, running: str) -> None:
    with pytest.raises(StartFailed, match="working directory"):
        execute(box, running, "true", cwd="/nowhere")


def test_exec_of_a_signalled_command_tells_128_and_the_number(box: Box, running: str) -> None:
    assert output(execute(box, running, "sh", "-c", "kill -9 $$"))[0] == 137


def test_exec_with_a_terminal(box: Box, running: str) -> None:
    with execute(box, running, "sh", terminal=True) as session:
        session.resize(40, 100)
        session.write(b"tty; stty size; echo do''ne\n")
        seen = read_until(session, b"done\r\n")
        assert b"/dev/pts/" in seen
        assert b"40 100" in seen
        session.write(b"exit 5\n")
        list(session)
        assert session.exit_code == 5


def test_a_detached_exec_runs_on(box: Box, running: str) -> None:
    assert box.runtime.exec(running, Process(args=("sh", "-c", "sleep 0.2; touch /tmp/done"), env=ENV, cwd="/"), detach=True) is None
    mark = Path(f"/proc/{box.runtime.state(running).pid}/root/tmp/done")
    deadline = time.monotonic() + 5
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert mark.exists()


def test_a_background_child_of_an_exec_is_not_waited_for(box: Box, running: str) -> None:
    start = time.monotonic()
    assert output(execute(box, running, "sh", "-c", "sleep 100 & echo x")) == (0, b"x\n")
    assert time.monotonic() - start < 5


def test_an_exec_ends_with_its_container(box: Box, running: str) -> None:
    session = execute(box, running, "sleep", "1000")
    box.runtime.kill(running, signal.SIGKILL)
    assert output(session)[0] == 137
    assert box.runtime.wait(running, timeout_s=5) == 137


def test_exec_needs_a_running_container(box: Box) -> None:
    identity = box.create(spec_for(["/bin/true"]))
    with pytest.raises(Conflict, match="created, not running"):
        execute(box, identity, "true")


def test_rt33_exec_never_joins_a_stranger_that_has_the_pid(box: Box, running: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    state = box.runtime.state(running)
    monkeypatch.setattr(box.runtime, "state", lambda _id, _bundle=None: replace(state, pid_started=state.pid_started - 1))
    with pytest.raises(Conflict, match="not running"):
        execute(box, running, "true")
    with pytest.raises(ProcessLookupError):
        processes.send_signal(state.pid, state.pid_started - 1, signal.SIGKILL)
    assert processes.alive(state.pid, state.pid_started)


def test_rt12_exec_has_the_rights_of_run(box: Box, running: str) -> None:
    script = "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; id"
    for user in (None, User(uid=1000, gid=1000)):
        ran = box.sh(script, user=user)
        assert output(execute(box, running, "sh", "-c", script, user=user)) == (0, ran[1].encode())


def test_rt02_exec_leaks_no_descriptor_and_enters_no_descriptor(box: Box, running: str) -> None:
    code, data = output(execute(box, running, "sh", "-c", "ls /proc/self/fd"))
    assert (code, data.split()) == (0, [b"0", b"1", b"2", b"3"])  # 3 is ls's own
    for number in range(3, 30):
        for cwd in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../.."):
            with pytest.raises(StartFailed, match="working directory"):
                execute(box, running, "pwd", cwd=cwd)


def test_rt14_the_entering_process_cannot_be_traced_from_inside(box: Box) -> None:
    # the container tries to read the memory and the program of every new process it sees
    script = (
        "trap 'exit 0' TERM; seen=0; while :; do for p in /proc/[0-9]*; do n=${p#/proc/};"
        ' [ "$n" != 1 ] && { x=$(readlink $p/exe 2>/dev/null); case "$x" in *python*|/) echo "leak $x";; esac; }; done; done'
    )
    identity = box.create(spec_for(["/bin/sh", "-c", script]))
    with box.runtime.attach(identity) as session:
        box.runtime.start(identity)
        for _ in range(30):
            output(execute(box, identity, "true"))
        box.runtime.kill(identity, signal.SIGKILL)
        assert b"".join(data for _stream, data in session) == b""


def test_a_container_that_ends_meanwhile_is_not_running(box: Box, running: str) -> None:
    """Its monitor has not told yet that it is over."""
    state = box.runtime.state(running)
    os.kill(state.monitor_pid, signal.SIGSTOP)
    try:
        os.kill(state.pid, signal.SIGKILL)
        assert processes.wait_gone(state.pid, state.pid_started, 30)
        assert box.runtime.state(running).status == "running"
        with pytest.raises(Conflict, match="is not running: it ended a moment ago"):
            box.runtime.exec(running, Process(args=("true",), env=ENV, cwd="/"))
    finally:
        os.kill(state.monitor_pid, signal.SIGCONT)

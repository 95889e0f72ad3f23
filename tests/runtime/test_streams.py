"""Output, input, terminals and logs of running containers."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from notebook_containers.runtime import clients
from notebook_containers.runtime.bundle import MonitorOptions
from notebook_containers.runtime.logs import read_log
from notebook_containers.runtime.sessions import Session
from tests.runtime.boxes import Box, collect, spec_for

pytestmark = pytest.mark.root


def read_until(session: Session, wanted: bytes, timeout_s: float = 10) -> bytes:
    """Read until the text was seen."""
    deadline, output = time.monotonic() + timeout_s, b""
    for _stream, data in session:
        output += data
        if wanted in output:
            return output
        assert time.monotonic() < deadline, output
    raise AssertionError(output)


def test_input_reaches_the_command_and_ends(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "cat; echo end"]), MonitorOptions(stdin_open=True))
    with box.runtime.attach(identity, stdin=True) as session:
        box.runtime.start(identity)
        session.write(b"one\n")
        session.write(b"x" * 500_000)
        session.close_stdin()
        assert collect(session) == (0, "one\n" + "x" * 500_000 + "end\n")


def test_input_ends_when_who_fed_it_goes(box: Box) -> None:
    identity = box.create(spec_for(["/bin/cat"]), MonitorOptions(stdin_open=True))
    session = box.runtime.attach(identity, stdin=True)
    box.runtime.start(identity)
    session.write(b"hello\n")
    session.close()
    assert box.runtime.wait(identity, timeout_s=5) == 0
    assert [line.data for line in read_log(box.path(identity) / "container.log")] == [b"hello\n"]


def test_without_open_input_it_is_empty(box: Box) -> None:
    assert box.run(spec_for(["/bin/sh", "-c", "cat; readlink /proc/self/fd/0"])) == (0, "/dev/null\n")


def test_two_clients_get_the_same_output(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "seq 1 5000"]))
    with box.runtime.attach(identity) as one, box.runtime.attach(identity) as two:
        box.runtime.start(identity)
        results = [collect(one), collect(two)]
    assert results[0] == results[1]
    assert results[0][1].splitlines() == [str(number) for number in range(1, 5001)]


def test_attach_with_logs_has_no_gap_and_no_overlap(box: Box) -> None:
    script = "i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done"
    identity = box.create(spec_for(["/bin/sh", "-c", script]), MonitorOptions(log_max_bytes=100_000, log_max_files=50))
    box.runtime.start(identity)
    time.sleep(0.01)
    with box.runtime.attach(identity, logs=True) as session:
        output = b"".join(data for _stream, data in session)
    assert output.split() == [str(number).encode() for number in range(30000)]


def test_a_slow_reader_holds_the_container_but_loses_nothing(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "head -c 8000000 /dev/zero; echo done >&2"]))
    with box.runtime.attach(identity) as session:
        box.runtime.start(identity)
        time.sleep(0.5)
        size = sum(line.data.count(b"\0") for line in read_log(box.path(identity) / "container.log"))
        assert clients.HIGH_BYTES <= size < 4_000_000
        assert sum(len(data) for stream, data in session if stream == "stdout") == 8_000_000
        assert session.lost_bytes == 0


def test_a_stalled_reader_is_given_up_and_told_how_much_it_lost(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "head -c 8000000 /dev/zero; sleep 1000"]), MonitorOptions(log_max_bytes=50_000_000))
    with box.runtime.attach(identity) as session:
        box.runtime.start(identity)
        deadline = time.monotonic() + clients.STALL_S + 10
        log = box.path(identity) / "container.log"
        while log.stat().st_size < 8_000_000 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert log.stat().st_size >= 8_000_000
        got = 0
        for _stream, data in session:
            got += len(data)
            if session.lost_bytes or got == 8_000_000:
                break
            if got > 7_000_000:
                break
            box_done = got + session.lost_bytes
            if box_done >= 8_000_000:
                break
            if got >= clients.HIGH_BYTES:
                threading.Timer(0.5, box.runtime.kill, (identity, 9)).start()
                got += sum(len(more) for _name, more in session)
        assert session.lost_bytes > 1_000_000
        assert got + session.lost_bytes == 8_000_000


def test_the_log_tells_time_stream_and_partial_lines(box: Box) -> None:
    before = time.time()
    identity = box.create(spec_for(["/bin/sh", "-c", "printf abc; sleep 0.2; printf 'def\\n'; echo err >&2; printf end"]))
    box.runtime.start(identity)
    box.runtime.wait(identity)
    lines = list(read_log(box.path(identity) / "container.log"))
    assert b"".join(line.data for line in lines if line.stream == "stdout") == b"abcdef\nend"
    assert b"".join(line.data for line in lines if line.stream == "stderr") == b"err\n"
    assert all(before <= line.time <= time.time() for line in lines)


def test_following_a_log_ends_with_the_container(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done"]))
    box.runtime.start(identity)
    lines = read_log(box.path(identity) / "container.log", follow=True, alive=lambda: box.runtime.state(identity).live())
    assert [line.data for line in lines] == [b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"]


def test_a_terminal_is_the_container_s_own(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh"], terminal=True), MonitorOptions(stdin_open=True))
    with box.runtime.attach(identity, stdin=True) as session:
        assert session.terminal
        box.runtime.start(identity)
        session.write(b"tty; stty size; test -c /dev/console && echo con''sole\n")
        output = read_until(session, b"console\r\n")
        assert b"/dev/pts/0\r\n24 80\r\n" in output
        session.resize(50, 132)
        session.write(b"stty size\n")
        assert b"50 132" in read_until(session, b"50 132")
        session.write(b"exit 3\n")
        assert collect(session)[0] == 3


def test_a_terminal_s_input_ends_with_its_character(box: Box) -> None:
    identity = box.create(spec_for(["/bin/cat"], terminal=True), MonitorOptions(stdin_open=True))
    with box.runtime.attach(identity, stdin=True) as session:
        box.runtime.start(identity)
        session.write(b"hello\n")
        read_until(session, b"hello\r\nhello\r\n")
        session.close_stdin()
        assert collect(session)[0] == 0


def test_control_c_reaches_the_foreground_of_the_terminal(box: Box) -> None:
    identity = box.create(
        spec_for(["/bin/sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done"], terminal=True)
    )
    with box.runtime.attach(identity, stdin=True) as session:
        box.runtime.start(identity)
        read_until(session, b"ready")
        session.write(b"\x03")
        code, output = collect(session)
    assert (code, "caught" in output) == (9, True)


def test_no_log_is_kept_when_no_path_is_given(box: Box) -> None:
    identity = box.create(spec_for(["/bin/echo", "hi"]), MonitorOptions(log_path=""))
    box.runtime.start(identity)
    assert box.runtime.wait(identity) == 0
    assert not list(Path(box.path(identity)).glob("*.log*"))


def test_an_unprivileged_user_may_open_its_own_output_again(box: Box) -> None:
    from notebook_containers.oci.runtime import User

    assert box.sh("echo again > /dev/stdout; echo wrong > /dev/stderr", user=User(uid=1000, gid=1000))[0] == 0

"""Why containers end, in words: the whole truth table of exit codes and signals, and real ends on the real kernel."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.refusals import refused
from notebook_containers.engine.verdict import Verdict, judge
from notebook_containers.errors import StartFailed
from notebook_containers.linux.seccomp import default_profile
from notebook_containers.runtime.state import ContainerState, HealthResult, HealthState, SignalRequest
from tests.home import BASE

MIB = 1 << 20


def ended(code: int, **given: object) -> ContainerState:
    fields = {"id": "x", "status": "stopped", "bundle": "/b", "exit_code": code, "started_at": 1.0, "finished_at": 2.0}
    return ContainerState(**{**fields, **given})  # type: ignore[arg-type]


def verdict(state: ContainerState, **given: str) -> Verdict:
    return judge(state, name="box", log_tail=lambda: given.get("log", ""))


@pytest.mark.parametrize("code", range(256))
def test_every_exit_code_has_a_verdict_that_names_it(code: int) -> None:
    found = verdict(ended(code))
    if code == 0:
        assert (found.cause, found.bad) == ("success", False)
    elif code == 159:
        assert (found.cause, found.bad) == ("seccomp", True)
    else:
        assert f"exit status {code}" in found.text
        assert found.hint
        assert found.bad == (code in (132, 133, 134, 135, 136, 137, 139))


@pytest.mark.parametrize("number", [n for n in range(1, 65) if n not in (32, 33)])
def test_every_signal_is_named_and_who_sent_it_when_that_is_known(number: int) -> None:
    outside = verdict(ended(128 + number, signal=number))
    name = signal.Signals(number).name if number in set(signal.Signals) else f"SIGRTMIN+{number - signal.SIGRTMIN}"
    assert name in outside.text
    if number not in (4, 5, 6, 7, 8, 11, 31):
        assert "nobody asked" in outside.text
    by_us = ended(128 + number, signal=number, requests=(SignalRequest(signal=number, why="kill", pid=7, uid=0, command="nbc"),))
    if number != signal.SIGSYS:
        assert f"killed by nbc kill from nbc (pid 7, user 0) with {name}" in verdict(by_us).text


@pytest.mark.parametrize(
    ("state", "cause", "words"),
    [
        (ended(137, signal=9, oom_killed=True, memory_peak=64 * MIB, memory_limit=64 * MIB), "oom", "limit of 64 MiB (peak 64 MiB)"),
        (ended(137, signal=9, oom_killed=True, memory_peak=20 * MIB, memory_limit=64 * MIB), "oom", "the machine itself ran out"),
        (ended(137, signal=9, oom_killed=True, memory_peak=20 * MIB), "oom", "used up to 20 MiB"),
        (ended(1, oom_kills=2), "error", "exit status 1"),
        (ended(1, disk_full=True), "disk-full", "the disk that holds images and containers is full"),
        (ended(159, signal=31, denied="ptrace"), "seccomp", "the system call ptrace"),
        (ended(159), "seccomp", "a process that it started made a system call"),
        (ended(137, error="lost: its monitor ended", started_at=None), "lost", "its end was not seen: its monitor ended"),
        (ended(127, error="command /x: no such file", start_failed=True, started_at=None), "not-found", "command /x: no such file"),
        (ended(126, error="cannot execute x: it is made for another machine", start_failed=True), "not-executable", "another machine"),
        (ended(125, error="cannot mount: no", start_failed=True), "start", "cannot mount"),
    ],
)
def test_what_is_known_goes_before_the_exit_code(state: ContainerState, cause: str, words: str) -> None:
    found = verdict(state)
    assert found.cause == cause
    assert words in found.text
    assert found.hint


def test_a_stop_that_was_ignored_says_so() -> None:
    first = SignalRequest(signal=15, why="stop", pid=3, command="python3", at=1000.0)
    asked = (first, SignalRequest(signal=9, why="stop", pid=3, at=1002.1))
    found = judge(ended(137, signal=9, requests=asked, manual=True), name="box")
    assert found.cause == "timeout"
    assert "python3 (pid 3, user 0): it did not end within 2 s of SIGTERM, so it was killed" in found.text


def test_a_stop_that_was_heeded_is_no_failure() -> None:
    asked = (SignalRequest(signal=15, why="stop", pid=3, command="python3"),)
    for state in (ended(0, requests=asked, manual=True), ended(143, signal=15, requests=asked, manual=True)):
        assert (judge(state, name="box").cause, judge(state, name="box").bad) == ("stopped", False)


def test_a_signal_that_it_survived_is_not_blamed() -> None:
    asked = (SignalRequest(signal=1, why="kill", pid=3),)
    assert verdict(ended(3, requests=asked)).cause == "error"


def test_the_log_is_asked_for_a_full_disk_only_after_a_failure() -> None:
    said = "cp: writing 'x': No space left on device\n"
    assert verdict(ended(1), log=said).cause == "disk-full"
    assert verdict(ended(0), log=said).cause == "success"
    assert verdict(ended(137, signal=9, oom_killed=True), log=said).cause == "oom"


def test_a_running_container_has_no_verdict_unless_its_health_fails() -> None:
    running = ContainerState(id="x", status="running", bundle="/b", pid=1, started_at=1.0)
    assert str(verdict(running)) == ""
    log = (HealthResult(exit_code=7, output="first\ncannot connect\n"),)
    failing = ContainerState(id="x", status="running", bundle="/b", health=HealthState(status="unhealthy", failing_streak=3, log=log))
    assert "health check fails (exit status 7, 3 times in a row): cannot connect" in str(verdict(failing))
    assert verdict(failing).bad


@pytest.mark.parametrize(
    ("refused", "before_s", "log", "call", "words"),
    [
        (("bpf", "unshare"), 0.1, "", "bpf", "a moment after its seccomp profile refused it the system call bpf"),
        (("bpf",), 3.0, "", "", "ended with exit status 1"),
        (("bpf",), 3.0, "PermissionError: [Errno 1] Operation not permitted\n", "bpf", "Operation not permitted"),
        (("bpf",), 11.0, "PermissionError: [Errno 1] Operation not permitted\n", "", "ended with exit status 1"),
        (("bpf",), 0.1, "open x: permission denied\n", "", "ended with exit status 1"),  # EACCES is no answer of this filter
        (("bpf", "mount"), 99.0, "mount: permission denied\n", "mount", "mount: permission denied"),
        (("io_uring_setup", "mbind"), 0.1, "", "", "ended with exit status 1"),
        (("io_uring_setup", "setns"), 0.1, "", "", "ended with exit status 1"),  # when setns was refused is not known
        ((), 0.1, "x: Operation not permitted\n", "", "ended with exit status 1"),
    ],
)
def test_a_refused_call_is_the_reason_when_words_or_time_say_so(
    refused: tuple[str, ...], before_s: float, log: str, call: str, words: str
) -> None:
    found = verdict(ended(1, refused=refused, refused_at=2.0 - before_s), log=log)
    assert found.cause == ("seccomp" if call else "error")
    assert f"system call {call}" in found.text if call else "seccomp" not in found.text
    assert words in found.text


# -- on the real kernel ------------------------------------------------------------------------------------------------------------


def finished(engine: Engine, args: list[str], **given: object) -> Container:
    container = engine.containers.run(BASE, args, network="none", detach=True, **given)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    container.wait(timeout=20)
    container.reload()
    return container


@pytest.mark.root
def test_out_of_memory_with_peak_and_limit_and_an_event(engine: Engine) -> None:
    began = time.time()
    container = finished(engine, ["tail", "/dev/zero"], mem_limit="32m")
    state = container.attrs["State"]
    assert isinstance(state, dict)
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)
    assert "limit of 32 MiB (peak 32 MiB)" in container.verdict.text
    assert "-m 64m" in container.verdict.hint
    with engine.events(since=began, until="0s", filters={"event": ["oom", "die"]}) as events:
        assert [event["Action"] for event in events] == ["oom", "die"]


@pytest.mark.root
def test_a_child_that_ran_out_of_memory_is_counted_and_the_container_goes_on(engine: Engine) -> None:
    container = engine.containers.run(
        BASE, ["sh", "-c", "tail /dev/zero; sleep 1000"], network="none", detach=True, mem_limit="32m", stop_timeout=0
    )
    assert isinstance(container, Container)
    deadline = time.monotonic() + 10
    while container.state.oom_kills == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        container.reload()
    assert (container.status, container.state.oom_killed) == ("running", False)


@pytest.mark.root
def test_kill_is_not_out_of_memory(engine: Engine) -> None:
    container = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True)
    assert isinstance(container, Container)
    container.kill()
    container.wait(timeout=5)
    container.reload()
    assert (container.exit_code, container.state.oom_killed, container.verdict.cause) == (137, False, "killed")


@pytest.mark.root
@pytest.mark.parametrize(
    ("prepare", "args", "code", "words"),
    [
        ("", ["/nowhere"], 127, "no such file in the container"),
        ("", ["nowhere"], 127, "not found in the container's PATH"),
        ("", ["/etc/passwd"], 126, "permission denied"),
        ("", ["/etc"], 126, "it is a directory"),
        ("printf '#!/bin/nowhere\\n' > /s; chmod +x /s", ["/s"], 126, "interpreter /bin/nowhere is missing"),
        (
            "printf '#!/bin/sh\\r\\necho\\r\\n' > /s; chmod +x /s",
            ["/s"],
            126,
            "interpreter '/bin/sh\\r' is missing; the file has line ends of Windows",
        ),
        (
            "printf 'x' > /s; chmod +x /s",
            ["/s"],
            126,
            "it is no program (a script starts with #! and its interpreter); write its interpreter",
        ),
        ("cp /bin/busybox /s; printf '\\xb7' | dd of=/s bs=1 seek=18 conv=notrunc; chmod +x /s", ["/s"], 126, "another machine"),
    ],
)
def test_commands_that_cannot_start_say_why_and_stay_to_be_asked(
    engine: Engine, prepare: str, args: list[str], code: int, words: str
) -> None:
    image = BASE
    if prepare:
        engine.images.build(text=f"FROM {BASE}\nRUN {prepare}\n", tag="broken", network="none")
        image = "broken"
    container = engine.containers.create(image, args, network="none")
    with pytest.raises(StartFailed):
        container.start()
    container.reload()
    assert (container.status, container.exit_code) == ("created", code)
    assert words in str(container.verdict)
    assert container.verdict.hint
    container.remove()
    if prepare:
        engine.images.remove("broken")


@pytest.mark.root
def test_a_call_that_seccomp_kills_for_is_named(engine: Engine, tmp_path: Path) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}
    (tmp_path / "profile.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    container = finished(engine, ["mkdir", "/x"], security_opt=[f"seccomp={tmp_path}/profile.json"])
    assert container.exit_code == 159
    assert container.verdict.cause == "seccomp"
    assert "mkdir" in container.verdict.text


@pytest.mark.root
def test_a_call_that_seccomp_answers_with_an_error_is_named_when_the_program_names_it(engine: Engine, tmp_path: Path) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    (tmp_path / "profile.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    for command, given, call in (
        (["mkdir", "/x"], {"security_opt": [f"seccomp={tmp_path}/profile.json"]}, "mkdir"),
        (["mount", "-t", "tmpfs", "none", "/mnt"], {}, "mount"),
        (["unshare", "-m", "true"], {}, "unshare"),
    ):
        container = finished(engine, command, **given)
        assert container.verdict.cause == "seccomp", container.verdict
        assert f"its seccomp profile refuses the system call {call} (exit status" in container.verdict.text
    assert finished(engine, ["sh", "-c", "echo rm: x: Operation not permitted >&2; exit 1"]).verdict.cause == "error"


def test_what_a_profile_refuses() -> None:
    default = refused(default_profile(frozenset()), machine="x86_64")
    assert {"mount", "unshare", "bpf", "keyctl"} <= default
    assert not {"openat", "clone", "socket", "no_such_call"} & default  # clone and socket by their arguments only
    assert refused({"defaultAction": "SCMP_ACT_ERRNO"}, machine="none") == frozenset()
    assert refused({}) == frozenset()


@pytest.mark.root
def test_the_caller_of_a_foreground_run_is_told(engine: Engine) -> None:
    from notebook_containers.errors import ContainerError

    with pytest.raises(ContainerError, match="out of memory") as caught:
        engine.containers.run(BASE, ["tail", "/dev/zero"], network="none", mem_limit="32m", remove=True)
    assert "-m 64m" in caught.value.hint

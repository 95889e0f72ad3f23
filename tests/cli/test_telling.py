"""What the command line tells of ends, health and events."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.cli.conftest import Nbc
from tests.home import BASE

pytestmark = pytest.mark.root


def test_a_bad_end_is_explained_on_standard_error_and_in_ps(nbc: Nbc) -> None:
    done = nbc("run", "--network", "none", "--name", "hungry", "-m", "32m", BASE, "tail", "/dev/zero")
    assert done.status == 137
    assert done.line.startswith("nbc: out of memory: it wanted more than its limit of 32 MiB (peak 32 MiB)")
    assert "give it more: -m 64m" in done.line
    assert nbc.ok("ps", "-a", "--format", "{{.Names}}|{{.Verdict}}") == f"hungry|{done.line.removeprefix('nbc: ')}"
    assert nbc.ok("ps", "-a", "--filter", "health=healthy", "-q") == ""


def test_an_exit_status_of_the_program_itself_needs_no_words(nbc: Nbc) -> None:
    done = nbc("run", "--rm", "--network", "none", BASE, "sh", "-c", "exit 3")
    assert (done.status, done.err) == (3, "")
    assert nbc("run", "--rm", "--network", "none", BASE, "true").err == ""


def test_health_in_ps(nbc: Nbc) -> None:
    flags = ["--health-cmd", "test -e /ok", "--health-interval", "100ms", "--health-retries", "1"]
    nbc.ok("run", "-d", "--network", "none", "--name", "sick", "--stop-timeout", "0", *flags, BASE, "sleep", "1000")
    deadline = time.monotonic() + 20
    while "(unhealthy)" not in nbc.ok("ps", "--format", "{{.Status}}"):
        assert time.monotonic() < deadline
    assert nbc.ok("ps", "--filter", "health=unhealthy", "--format", "{{.Names}} {{.Health}}") == "sick unhealthy"
    assert "health check fails (exit status 1" in nbc.ok("ps", "--format", "{{.Verdict}}")
    health = json.loads(nbc.ok("inspect", "-f", "{{json .State.Health}}", "sick"))
    assert health["Status"] == "unhealthy"
    assert len(health["Log"]) >= 1
    nbc.ok("exec", "sick", "touch", "/ok")
    while "(healthy)" not in nbc.ok("ps", "--format", "{{.Status}}"):
        assert time.monotonic() < deadline


def test_events_as_they_happen_and_as_they_were(nbc: Nbc) -> None:
    began = time.time()
    following = nbc.start(
        "events", "--format", "{{.Action}} {{.Actor.Attributes.name}}", "--filter", "container=told", "--since", f"{began}"
    )
    nbc.ok("run", "--network", "none", "--name", "told", BASE, "true")
    nbc.ok("rm", "told")
    assert following.stdout is not None
    assert [following.stdout.readline().strip() for _ in range(5)] == [
        f"{word} told" for word in ("create", "attach", "start", "die", "destroy")
    ]
    following.send_signal(signal.SIGINT)
    assert following.wait(10) in (0, 130)
    lines = nbc.ok("events", "--since", f"{began}", "--until", "0s", "--filter", "event=die").splitlines()
    assert len(lines) == 1
    assert " container die " in lines[0]
    assert "exitCode=0" in lines[0]
    assert "name=told" in lines[0]
    event = json.loads(nbc.ok("events", "--since", f"{began}", "--until", "0s", "--filter", "event=die", "--format", "json"))
    assert (event["Type"], event["Action"], event["status"], event["from"]) == ("container", "die", "die", BASE)
    done = nbc("events", "--until", "0s", "--filter", "colour=red")
    assert done.status == 1
    assert "event filter 'colour' is not understood" in done.line


def test_recover_says_what_it_did(nbc: Nbc) -> None:
    assert nbc.ok("system", "recover") == "lost: none\nremoved: none\nstarted: none"


def test_logs_with_times_and_details(nbc: Nbc) -> None:
    nbc("run", "--network", "none", "--name", "wordy", BASE, "sh", "-c", "printf part; sleep 0.05; echo ly; sleep 0.05; echo next")
    lines = nbc.ok("logs", "-t", "wordy").splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["partly", "next"]
    assert nbc.ok("logs", "--details", "wordy") == " partly\n next"
    assert nbc.ok("logs", "--since", lines[1].split()[0], "wordy") == "next"
    assert nbc.ok("logs", "--since", "1h", "--tail", "1", "wordy") == "next"
    assert "is no time" in nbc("logs", "--since", "yesterday", "wordy").line


def test_a_command_that_cannot_start_stays_with_its_verdict(nbc: Nbc) -> None:
    done = nbc("run", "--network", "none", "--name", "broken", BASE, "no-such-program")
    assert done.status == 127
    assert done.line.startswith("nbc: command no-such-program: not found in the container's PATH; ")
    assert done.line.endswith("the image may lack it, or its PATH: see what there is with ls /bin")
    assert nbc.ok("ps", "-a", "--format", "{{.Status}}|{{.Verdict}}") == f"Created|{done.line.removeprefix('nbc: ')}"
    assert nbc.ok("rm", "broken") == "broken"
    assert nbc("run", "--network", "none", BASE, "/etc/passwd").line.endswith("permission denied; make it executable: chmod +x")

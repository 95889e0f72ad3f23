"""A call that seccomp refuses is known by name when the container ends, whatever the program says of it, and costs nobody else anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from tests.home import BASE
from tests.people import person

pytestmark = pytest.mark.root

TOUCH = ["sh", "-c", "touch /etc/passwd"]


@pytest.fixture
def no_times(tmp_path: Path) -> str:
    """A profile that refuses to set the times of files, which no program calls by the call's name."""
    rule = {"names": ["utimensat", "utime", "utimes"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    (tmp_path / "profile.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    return f"seccomp={tmp_path / 'profile.json'}"


def finished(engine: Engine, args: list[str], **given: object) -> Container:
    container = engine.containers.run(BASE, args, network="none", detach=True, **given)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    container.wait(timeout=30)
    container.reload()
    return container


@pytest.mark.parametrize("more", [[], ["no-new-privileges=false"]])
@pytest.mark.parametrize("init", [False, True])
def test_a_refused_call_is_named_that_the_program_does_not_name(engine: Engine, no_times: str, more: list[str], init: bool) -> None:
    container = finished(engine, TOUCH, security_opt=[no_times, *more], init=init)
    assert (container.exit_code, container.verdict.cause) == (1, "seccomp")
    assert "refuses the system call utimensat (exit status 1): touch:" in container.verdict.text
    assert "--security-opt seccomp=FILE" in container.verdict.hint


def test_and_one_of_a_program_that_says_nothing(engine: Engine) -> None:
    state = finished(engine, ["sh", "-c", "date -s 12:00 >/dev/null 2>&1"]).state
    assert state.refused == ("clock_settime",)
    assert state.started_at is not None
    assert state.finished_at is not None
    assert state.started_at - 1 <= state.refused_at <= state.finished_at


def test_what_it_was_refused_and_went_on_without_is_not_blamed(engine: Engine) -> None:
    container = finished(engine, ["sh", "-c", "unshare -m true 2>/dev/null; sleep 2.5; exit 3"])
    assert container.state.refused == ("unshare",)
    assert (container.verdict.cause, container.verdict.text) == ("error", "ended with exit status 3")
    container = finished(engine, ["sh", "-c", "unshare -m true 2>/dev/null; true"])
    assert (container.state.refused, container.verdict.cause) == (("unshare",), "success")


def test_each_life_has_its_own(engine: Engine, no_times: str) -> None:
    script = "[ -e /again ] && exit 3; : > /again; touch /etc/passwd"
    container = finished(engine, ["sh", "-c", script], security_opt=[no_times])
    assert container.state.refused == ("utimensat",)
    container.start()
    container.wait(timeout=30)
    container.reload()
    assert container.exit_code == 3
    assert not container.state.refused


def test_hundreds_of_refused_calls_end_and_the_rest_goes_on_meanwhile(engine: Engine, no_times: str) -> None:
    script = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); touch /etc/passwd 2>/dev/null; done; echo all; sleep 1000"
    container = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, security_opt=[no_times], stop_timeout=0)
    assert isinstance(container, Container)
    for line in container.logs(stream=True, follow=True):
        assert line == b"all\n"
        break
    container.pause()
    container.unpause()
    result = container.exec_run(["touch", "/etc/passwd"])
    assert (result.exit_code, b"Operation not permitted" in result.output) == (1, True)
    container.kill()
    container.wait(timeout=30)
    container.reload()
    assert (container.state.refused, container.verdict.cause) == (("utimensat",), "killed")


@pytest.mark.parametrize("lent", [False, True])
def test_an_ordinary_user_is_told_it_too(lent: bool) -> None:
    with person(lent=lent) as somebody:
        said = somebody.python(f"""
import json
from notebook_containers import Engine
with Engine() as engine:
    container = engine.containers.run({BASE!r}, ["sh", "-c", "date -s 12:00 >/dev/null 2>&1"], network="none", detach=True)
    container.wait(timeout=30)
    container.reload()
    print(json.dumps(container.state.refused))
    container.remove()
""")
        assert said == ["clock_settime"]

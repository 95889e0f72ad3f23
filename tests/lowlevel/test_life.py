"""The life of a container by the specification's rules (runtime.md, "Operations"), as a table that we and runc are both held to."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lowlevel.bundles import Low

pytestmark = pytest.mark.root

GONE = "gone"
TABLE = [
    # what the last verb does: refused or not, and what the container is afterwards
    (("create", "create"), False, "created"),
    (("create", "kill"), True, "stopped"),
    (("create", "delete"), True, GONE),
    (("create", "resume"), False, "created"),
    (("create", "start", "start"), False, "running"),
    (("create", "start", "create"), False, "running"),
    (("create", "start", "delete"), False, "running"),
    (("create", "start", "resume"), False, "running"),
    (("create", "start", "pause", "resume"), True, "running"),
    (("create", "start", "pause", "pause"), False, "paused"),
    (("create", "start", "pause", "delete"), False, "paused"),
    (("create", "start", "kill", "kill"), False, "stopped"),
    (("create", "start", "kill", "start"), False, "stopped"),
    (("create", "start", "kill", "exec"), False, "stopped"),
    (("create", "start", "kill", "delete"), True, GONE),
    (("create", "start", "kill", "delete", "delete"), False, GONE),
    (("create", "start", "kill", "delete", "create"), True, "created"),
    (("state",), False, GONE),
    (("start",), False, GONE),
    (("kill",), False, GONE),
    (("delete",), False, GONE),
]


class Caller:
    """The verbs of one runtime on one container."""

    def __init__(self, words: list[str], low: Low) -> None:
        self._words, self._low = words, low
        self.bundle = low.bundle(["sleep", "100"], lambda spec: spec.update(annotations={"org.example.a": "b"}))
        self.pid_file = low.directory / "pid"

    def do(self, verb: str) -> bool:
        """Carry out one verb; tells whether it succeeded."""
        arguments = {
            "create": ["create", "--bundle", str(self.bundle), "--pid-file", str(self.pid_file), "judged"],
            "kill": ["kill", "judged", "KILL"],
            "exec": ["exec", "judged", "true"],
        }
        words = [*self._words, *arguments.get(verb, [verb, "judged"])]
        with open(self._low.directory / "out", "ab") as out:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self._low.environment, check=False, timeout=60
            )
        if verb == "kill" and done.returncode == 0:
            self.wait_for_stopped()
        return done.returncode == 0

    def state(self) -> dict[str, object]:
        """Return the state, empty when there is none."""
        done = subprocess.run([*self._words, "state", "judged"], capture_output=True, env=self._low.environment, check=False, timeout=60)
        found: dict[str, object] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def wait_for_stopped(self) -> None:
        """Wait until a killed container is stopped."""
        deadline = time.monotonic() + 10
        while self.state().get("status") != "stopped" and time.monotonic() < deadline:
            time.sleep(0.02)

    def forget(self) -> None:
        """Delete it, whatever it does."""
        subprocess.run([*self._words, "delete", "--force", "judged"], env=self._low.environment, check=True, timeout=60)
        self.pid_file.unlink(missing_ok=True)


@pytest.fixture(params=["nbc", "runc"])
def caller(request: pytest.FixtureRequest, low: Low) -> Iterator[Caller]:
    words = {
        "nbc": [sys.executable, "-m", "notebook_containers", "runtime", "--root", str(low.root)],
        "runc": ["runc", "--root", str(low.directory / "runc")],
    }
    made = Caller(words[request.param], low)
    yield made
    made.forget()


def test_the_table(caller: Caller) -> None:
    for verbs, succeeds, status in TABLE:
        for verb in verbs[:-1]:
            assert caller.do(verb), (verbs, verb)
        assert caller.do(verbs[-1]) == succeeds, verbs
        assert caller.state().get("status", GONE) == status, verbs
        if status == "paused":
            assert caller.do("resume")
        if status != GONE:
            caller.forget()


def test_the_state_has_the_specifications_members(caller: Caller) -> None:
    assert caller.do("create")
    created = caller.state()
    assert caller.do("start")
    running = caller.state()
    pid = caller.pid_file.read_text()
    assert pid == str(created["pid"]) == str(running["pid"])
    deadline = time.monotonic() + 10
    while (words := Path(f"/proc/{pid}/cmdline").read_bytes()) != b"sleep\x00100\x00" and time.monotonic() < deadline:
        time.sleep(0.01)  # runc does not wait for the command itself
    assert words == b"sleep\x00100\x00"
    for state, status in ((created, "created"), (running, "running")):
        assert {"ociVersion", "id", "status", "pid", "bundle", "annotations", "rootfs", "created", "owner"} <= set(state)
        assert (state["id"], state["status"], state["bundle"]) == ("judged", status, str(caller.bundle))
        assert state["annotations"] == {"org.example.a": "b"}
        assert re.match(r"1\.\d+\.\d+", str(state["ociVersion"]))
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", str(state["created"]))
    os.kill(int(pid), signal.SIGKILL)
    caller.wait_for_stopped()
    stopped = caller.state()
    assert (stopped["status"], stopped["pid"]) == ("stopped", 0)


@pytest.mark.parametrize("form", ["json", "text"])
def test_errors_are_logged_in_runcs_shape(low: Low, form: str) -> None:
    """containerd's shim and podman read the last line of the log to say why something failed."""
    lines: list[str] = []
    for words in (["runc", "--root", str(low.directory / "runc")], low.words()):
        log = low.directory / f"log{len(lines)}"
        command = [*words, "--log", str(log), "--log-format", form, "start", "none"]
        assert subprocess.run(command, env=low.environment, capture_output=True, check=False, timeout=60).returncode == 1
        (line,) = log.read_text().splitlines()
        lines.append(
            re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", line).replace("container does not exist: none", "container does not exist")
        )
    assert lines[0] == lines[1]

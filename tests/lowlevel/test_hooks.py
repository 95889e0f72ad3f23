"""Hooks: where they run, what they are told, and what their failure does (runtime-spec, config.md and runtime.md)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.lowlevel.bundles import Change, Low, Spec, section

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def hook(kind: str, script: str, **more: object) -> Change:
    """Add a hook that runs a shell script; for startContainer the shell is the container's."""

    def change(spec: Spec) -> None:
        entries = section(spec, "hooks").setdefault(kind, [])
        assert isinstance(entries, list)
        entries.append({"path": "/bin/sh", "args": ["sh", "-c", script], **more})

    return change


def logging(log: Path) -> list[Change]:
    """Return a hook of each kind that writes its name and the state it is told."""
    inside = hook("startContainer", "cat >/dev/shm/told; ls /dev/shm")
    return [inside, *(hook(kind, f"echo {kind} $(cat) >>{log}") for kind in KINDS if kind != "startContainer")]


@pytest.mark.root
def test_all_six_run_in_their_order_with_the_state(low: Low) -> None:
    log = low.directory / "log"
    bundle = low.bundle(["sh", "-c", "cat /dev/shm/told; sleep 100"], *logging(log), lambda spec: spec.update(annotations={"a": "b"}))
    output = low.create("one", bundle)
    names = [line.split()[0] for line in log.read_text().splitlines()]
    assert names == ["prestart", "createRuntime", "createContainer"]
    pid = low.state("one")["pid"]
    low.nbc("start", "one")
    assert [line.split()[0] for line in log.read_text().splitlines()][3:] == ["poststart"]
    low.nbc("delete", "--force", "one")
    told = {line.split()[0]: json.loads(line.partition(" ")[2]) for line in log.read_text().splitlines()}
    assert list(told) == [kind for kind in KINDS if kind != "startContainer"]
    statuses = {kind: (state["status"], state["pid"]) for kind, state in told.items()}
    assert statuses["prestart"] == statuses["createRuntime"] == ("creating", pid)
    assert statuses["createContainer"] == ("creating", 1)
    assert statuses["poststart"] == ("running", pid)
    assert statuses["poststop"] == ("stopped", 0)
    assert {(state["id"], state["bundle"], state["annotations"]["a"]) for state in told.values()} == {("one", str(bundle), "b")}
    inside = json.loads(output.read_text())
    assert (inside["status"], inside["pid"], inside["id"]) == ("created", 1, "one")


@pytest.mark.root
def test_the_runtimes_hooks_see_the_host_and_the_containers_hook_its_namespaces(low: Low) -> None:
    places = "readlink /proc/self/ns/mnt; readlink /proc/self/ns/net; test ! -d {0} || echo host-files"
    log = low.directory / "log"
    hooks = [hook(kind, f"({places.format(low.rootfs)}) >>{log}.{kind}") for kind in ("createRuntime", "createContainer")]
    hooks.append(hook("startContainer", f"({places.format(low.rootfs)}) >/dev/shm/place"))
    code, output = low.sh("cat /dev/shm/place; readlink /proc/self/ns/mnt; readlink /proc/self/ns/net", *hooks)
    lines = output.splitlines()
    assert code == 0
    mount, network = lines[-2:]
    assert lines[:-2] == [mount, network]
    own = [os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/self/ns/net"), "host-files"]
    assert Path(f"{log}.createRuntime").read_text().splitlines() == own
    # before the pivot: the container's namespaces, and the host's files still there
    assert Path(f"{log}.createContainer").read_text().splitlines() == [mount, network, "host-files"]


@pytest.mark.root
def test_hooks_run_when_everything_is_mounted_at_the_root(low: Low) -> None:
    log = low.directory / "log"
    seen = hook("prestart", f"pid=$(grep -o '\"pid\": [0-9]*' | grep -o '[0-9]*'); grep {low.rootfs}/proc /proc/$pid/mountinfo >{log}")
    assert low.sh("true", seen)[0] == 0
    assert " proc proc " in log.read_text()


@pytest.mark.root
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_ends_create_and_what_was_made(low: Low, kind: str) -> None:
    log = low.directory / "log"
    bundle = low.bundle(
        ["true"], hook(kind, "echo no luck >&2; exit 3"), hook(kind, f"echo second >{log}"), hook("poststop", f"echo stop >{log}")
    )
    done = low.done("create", "--bundle", str(bundle), "one")
    assert done.returncode == 1
    assert f"{kind} hook /bin/sh failed with status 3: no luck" in done.stdout
    assert log.read_text() == "stop\n"  # the second of its kind did not run, the poststop hooks did
    assert os.listdir(low.root) == []


@pytest.mark.root
def test_a_failing_start_hook_stops_the_container(low: Low) -> None:
    output = low.create("one", low.bundle(["sh", "-c", "echo ran"], hook("startContainer", "exit 4")))
    done = low.done("start", "one")
    assert done.returncode == 1
    assert "startContainer hook /bin/sh failed with status 4" in done.stdout
    low.wait_for("one", "stopped")
    assert output.read_text() == ""


@pytest.mark.root
@pytest.mark.parametrize("kind", ["poststart", "poststop"])
def test_a_failing_hook_afterwards_is_a_warning(low: Low, kind: str) -> None:
    log = low.directory / "log"
    code, output = low.sh("sleep 0.2; echo ran", hook(kind, "exit 5"), hook(kind, f"echo second >{log}"))
    assert code == 0
    assert "ran\n" in output
    assert f'level=warning msg="{kind} hook /bin/sh failed with status 5"' in output
    assert log.read_text() == "second\n"


@pytest.mark.root
def test_a_hook_has_its_time_only(low: Low) -> None:
    began = time.monotonic()
    code, output = low.sh("true", hook("prestart", "sleep 60 & sleep 60", timeout=1))
    assert code == 1
    assert "prestart hook /bin/sh did not end within its 1 s" in output
    assert time.monotonic() - began < 15


@pytest.mark.root
def test_a_hook_has_its_environment_only_and_need_not_read_its_input(low: Low) -> None:
    log = low.directory / "log"
    big = {"annotations": {"big": "x" * 200_000}}
    change = hook("createRuntime", f"env >{log}; exec 0<&-", env=["A=b", "PATH=/bin"])
    code, _ = low.sh("true", change, lambda spec: spec.update(big))
    assert code == 0
    assert {"A=b", "PATH=/bin"} <= set(log.read_text().split("\n"))
    assert "LC_ALL" not in log.read_text()


@pytest.mark.root
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"path": "bin/sh"}, "must be absolute"),
        ({"path": "/bin/sh", "timeout": 0}, "greater than zero"),
        ({"path": "/none"}, "No such file"),
    ],
)
def test_a_wrong_hook_is_refused(low: Low, entry: Spec, said: str) -> None:
    code, output = low.sh("true", lambda spec: section(spec, "hooks").update(prestart=[entry]))
    assert code == 1
    assert said in output


@pytest.mark.root
def test_a_hook_may_ask_for_the_state(low: Low) -> None:
    log = low.directory / "log"
    words = " ".join(f"'{word}'" for word in low.words("state", "one"))
    bundle = low.bundle(["true"], hook("createRuntime", f"PYTHONPATH={low.environment['PYTHONPATH']} {words} >{log}"))
    low.nbc("run", "--bundle", str(bundle), "one")
    assert json.loads(log.read_text())["status"] == "creating"

"""``--runtime runc``: our bundles executed by another OCI runtime, with our log, our exit code and our verbs around it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import InvalidArgument, StartFailed, Unsupported
from notebook_containers.linux import cgroups, process as processes
from tests.home import BASE

pytestmark = [pytest.mark.root, pytest.mark.needs("runc")]


def run(engine: Engine, script: str, restart: Mapping[str, object] | None = None) -> Container:
    words = ["sh", "-c", script]
    container = engine.containers.run(BASE, words, network="none", detach=True, runtime="runc", restart_policy=restart)
    assert isinstance(container, Container)
    return container


def test_output_and_exit_code_are_kept_by_us(engine: Engine) -> None:
    container = run(engine, "echo out; echo err >&2; exit 4")
    assert container.wait()["StatusCode"] == 4
    assert container.logs(stdout=True, stderr=False) == b"out\n"
    assert container.logs(stdout=False, stderr=True) == b"err\n"
    container.reload()
    assert container.status == "exited"
    assert container.attrs["HostConfig"]["Runtime"].endswith("runc")  # type: ignore[index, union-attr, call-overload]


def test_it_is_runc_that_made_it(engine: Engine) -> None:
    container = run(engine, "sleep 100")
    root = next(Path(engine._parts.run).glob("c/*/borrowed/state"))
    listed = subprocess.run(["runc", "--root", str(root), "list", "-q"], capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == container.id
    container.remove(force=True)
    assert not root.exists()


def test_every_verb_works(engine: Engine) -> None:
    container = run(engine, "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
    assert container.exec_run(["sh", "-c", "exit 3"]).exit_code == 3
    assert container.exec_run(["id", "-u"]).output == b"0\n"
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.stop(timeout=5)
    container.reload()
    assert container.exit_code == 9
    container.start()
    deadline = time.monotonic() + 10
    while container.logs() != b"up\nup\n":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    container.kill()
    assert container.wait()["StatusCode"] == 137


def test_limits_and_network_are_ours(engine: Engine) -> None:
    container = engine.containers.run(BASE, ["sleep", "100"], detach=True, runtime="runc", mem_limit="64m", pids_limit=33)
    assert isinstance(container, Container)
    script = "cat /sys/fs/cgroup/pids/pids.max; ip addr show eth0 | grep -c 'inet '; cat /proc/self/status | grep Seccomp:"
    assert container.exec_run(["sh", "-c", script]).output == b"33\n1\nSeccomp:\t2\n"
    container.remove(force=True)
    for place in cgroups.detect().places.values():
        assert not place.directory or not Path(f"{place.directory}/notebook-containers/{container.id}").exists()
    assert not Path("/sys/fs/cgroup/unified/notebook-containers").exists()


def test_it_restarts_by_policy(engine: Engine) -> None:
    container = run(engine, "echo life; exit 3", restart={"Name": "on-failure", "MaximumRetryCount": 2})
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        container.reload()
        if container.status == "exited":
            break
        time.sleep(0.05)
    assert container.logs() == b"life\nlife\nlife\n"


def test_commands_that_cannot_start_say_why(engine: Engine) -> None:
    with pytest.raises(StartFailed, match="executable file not found") as caught:
        engine.containers.run(BASE, ["nonexistent"], network="none", remove=True, runtime="runc")
    assert caught.value.exit_status == 127


def test_what_cannot_be_is_said(engine: Engine) -> None:
    with pytest.raises(InvalidArgument, match="runtime 'nope' is not installed"):
        engine.containers.create(BASE, ["true"], runtime="nope")
    with pytest.raises(Unsupported, match="--init and --runtime"):
        engine.containers.create(BASE, ["true"], runtime="runc", init=True)
    assert engine.containers.create(BASE, ["true"], runtime="nbc").document.options.runtime == ""


@pytest.mark.needs("crun")
def test_crun_runs_it_or_says_why_it_cannot_here(engine: Engine) -> None:
    hybrid = cgroups.detect().version == "hybrid"
    if hybrid:
        with pytest.raises(StartFailed, match="cgroups in hybrid mode not supported"):
            engine.containers.run(BASE, ["true"], network="none", remove=True, runtime="crun")
    else:
        assert engine.containers.run(BASE, ["echo", "x"], network="none", remove=True, runtime="crun") == b"x\n"


def test_a_killed_monitor_leaves_a_container_that_can_be_removed(engine: Engine) -> None:
    container = run(engine, "sleep 100")
    state = container.state
    os.kill(state.monitor_pid, signal.SIGKILL)
    assert processes.wait_gone(state.monitor_pid, state.monitor_started, 10)
    container.reload()
    assert container.status == "running"  # runc's containers do not die with our monitor
    container.remove(force=True)


@pytest.mark.parametrize("runtime", ["runc", pytest.param("crun", marks=pytest.mark.needs("crun"))])
def test_rt25_the_machines_null_device_stays_roots(engine: Engine, runtime: str) -> None:
    """crun gives its standard streams to the container's root, who could then take /dev/null from everybody."""
    for tty in (False, True):
        try:
            with pytest.raises(Unsupported, match="a user namespace of its own needs the own runtime"):
                engine.containers.run(BASE, ["true"], network="none", remove=True, runtime=runtime, userns_mode="auto", tty=tty)
            assert os.stat("/dev/null").st_uid == 0
        finally:
            os.chown("/dev/null", 0, 0)

"""What an ordinary user does in the virtual machine with a delegated cgroup v2 subtree (collected there only, by name)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from notebook_containers.engine.container import Container
from tests.engine.test_limits import EATER
from tests.home import BASE, Home

MANAGER = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service"


def run(home: Home, options: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a container without network by the command line, to its end."""
    command = [sys.executable, "-m", "notebook_containers", "run", "--rm", "--network", "none", *options.split(), BASE, *words]
    return subprocess.run(command, env={**os.environ, **home.variables()}, capture_output=True, text=True, timeout=100, check=False)


def test_what_is_delegated_is_enforced_and_the_rest_is_said(home: Home) -> None:
    assert os.geteuid() == 1000
    with home.open() as engine:
        limits = engine.info()["Limits"]
    assert limits == {
        "memory": "enforced",
        "cpu": "enforced",
        "pids": "enforced",
        "cpuset": "the cpuset controller is not delegated to user@1000.service",
        "io": "the io controller is not delegated to user@1000.service",
    }


def test_run_with_limits(home: Home) -> None:
    script = "cd /sys/fs/cgroup && cat memory.max cpu.max pids.max; id -u"
    done = run(home, "-m 48m --cpus 0.5 --pids-limit 33", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == [str(48 << 20), "50000 100000", "33", "0", ""]


def test_memory_and_processes_bite(home: Home) -> None:
    done = run(home, "-m 16m", "sh", "-c", f"exec {EATER}")
    assert done.returncode == 137
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 3 & done; wait"
    done = run(home, "--pids-limit 6", "sh", "-c", script)
    assert "ork" in done.stderr


def test_a_limit_that_is_not_delegated_is_said(home: Home) -> None:
    done = run(home, "--cpuset-cpus 0", "true")
    assert done.returncode == 0
    assert "cpu set 0 is not enforced: the cpuset controller is not delegated to user@1000.service" in done.stderr


def test_pause_kill_and_nothing_left(home: Home) -> None:
    with home.open() as engine:
        container = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, stop_timeout=0)
        assert isinstance(container, Container)
        assert container.warnings == ()
        group = Path("/sys/fs/cgroup") / Path(f"/proc/{container.state.pid}/cgroup").read_text().strip().removeprefix("0::/")
        assert str(group).startswith(f"{MANAGER}/notebook-containers/")
        container.pause()
        assert "frozen 1" in (group / "cgroup.events").read_text()
        container.unpause()
        container.kill()
        assert container.wait(timeout=30)["StatusCode"] == 137
        container.remove()
    assert not Path(f"{MANAGER}/notebook-containers").exists()

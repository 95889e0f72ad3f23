"""What an ordinary user has whose cgroups are in the hands of systemd --user: a scope by its message bus (collected there only)."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from notebook_containers.engine.container import Container
from notebook_containers.linux import delegation
from tests.engine.test_limits import EATER
from tests.home import BASE, Home
from tests.vm.reporting import say
from tests.vm.user_journey import run

MANAGER = "/sys/fs/cgroup/user.slice/user-1001.slice/user@1001.service"


def group_of(pid: int) -> str:
    return "/sys/fs/cgroup" + Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")


def test_the_manager_gives_a_scope_away() -> None:
    state = delegation.look()
    assert state.available, state
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            delegation.start_scope(process.pid)
            say(fact="marks of the manager", value=" ".join(os.listxattr(group_of(process.pid))))
            scope = delegation.adopt(process.pid)
            assert scope.startswith(f"{MANAGER}/")
            assert scope.endswith(".scope")
            assert group_of(process.pid) == f"{scope}/{delegation.LEAF}"
            assert os.getxattr(scope, "user.delegate") == b"1"
        finally:
            process.kill()


def test_the_manager_makes_a_scope_for_our_processes(home: Home) -> None:
    assert os.geteuid() == 1001
    assert not delegation.delegated_above(group_of(os.getpid())), "nothing may be delegated before"
    with home.open() as engine:
        container = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, stop_timeout=0, mem_limit="48m")
        assert isinstance(container, Container)
        assert container.warnings == ()
        group = group_of(container.state.pid)
        scope = next(part for part in group.removeprefix(MANAGER).split("/") if part.endswith(".scope"))
        assert group.startswith(MANAGER)
        assert scope.startswith("notebook-containers-")
        assert Path(group, "memory.max").read_text().strip() == str(48 << 20)
        limits = engine.info()["Limits"]
        container.remove(force=True)
    deadline = time.monotonic() + 20
    while (left := Path(group[: group.index(scope)] + scope)).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left.exists(), "the scope ends with its processes"
    assert isinstance(limits, dict)
    assert {limits[name] for name in ("memory", "cpu", "pids")} == {"enforced"}


def test_limits_bite(home: Home) -> None:
    show = "cd /sys/fs/cgroup && cat memory.max cpu.max pids.max"
    fork = "(for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait)"
    done = run(home, "-m 16m --cpus 0.5 --pids-limit 6", "sh", "-c", f"{show}; {fork}; exec {EATER}")
    assert done.stdout.split("\n") == [str(16 << 20), "50000 100000", "6", ""]
    assert "ork" in done.stderr
    assert done.returncode == 137

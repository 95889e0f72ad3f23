"""Limits that bite: memory, processes, CPU, and what is said where they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.linux import cgroups
from tests.home import BASE
from tests.needs import need

pytestmark = pytest.mark.root

EATER = "awk 'BEGIN { text = \"x\"; while (length(text) < 200000000) text = text text }'"


def enforced(kind: str) -> bool:
    return not cgroups.usable().get(kind)


def start(engine: Engine, command: list[str], **given: object) -> Container:
    container = engine.containers.run(BASE, command, network="none", detach=True, stop_timeout=0, **given)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


def cgroup_value(container: Container, controller: str, names: tuple[str, ...]) -> str:
    """Return a cgroup file of the container, by its version 1 or version 2 name."""
    for line in Path(f"/proc/{container.state.pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for top in (Path("/sys/fs/cgroup") / controller, Path("/sys/fs/cgroup")):
            if controller in controllers.split(",") or not controllers:
                for name in names:
                    file = Path(f"{top}{path}") / name
                    if file.is_file():
                        return file.read_text().strip()
    raise AssertionError(f"no {names} for {container}")


def test_rel17_memory_over_the_limit_is_an_oom_kill(engine: Engine) -> None:
    need(enforced("memory"), "memory controller")
    container = start(engine, ["sh", "-c", f"exec {EATER}"], mem_limit="16m")
    assert container.wait(timeout=30)["StatusCode"] == 137
    container.reload()
    assert container.state.oom_killed
    state = container.attrs["State"]
    assert isinstance(state, dict)
    assert state["OOMKilled"] is True


def test_rel17_a_child_that_is_killed_is_not_the_containers_end(engine: Engine) -> None:
    need(enforced("memory"), "memory controller")
    container = start(engine, ["sh", "-c", f"{EATER}; echo child $?; exit 0"], mem_limit="16m")
    assert container.wait(timeout=30)["StatusCode"] == 0
    assert container.logs(stderr=False) == b"child 137\n"
    container.reload()
    assert not container.state.oom_killed


def test_too_many_processes_are_refused_inside(engine: Engine) -> None:
    need(enforced("pids"), "pids controller")
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; wait"
    container = start(engine, ["sh", "-c", script], pids_limit=6)
    container.wait(timeout=30)
    assert b"ork" in container.logs()


def test_cpu_limits_are_in_the_cgroup(engine: Engine) -> None:
    need(enforced("cpu"), "cpu controller")
    container = start(engine, ["sleep", "1000"], nano_cpus=500_000_000)
    assert cgroup_value(container, "cpu", ("cpu.max", "cpu.cfs_quota_us")) in ("50000", "50000 100000")


def test_memory_and_pids_limits_are_in_the_cgroup(engine: Engine) -> None:
    container = start(engine, ["sleep", "1000"], mem_limit="64m", pids_limit=77)
    if enforced("memory"):
        assert cgroup_value(container, "memory", ("memory.max", "memory.limit_in_bytes")) == str(64 << 20)
    if enforced("pids"):
        assert cgroup_value(container, "pids", ("pids.max",)) == "77"


def test_by_default_there_are_4096_processes(engine: Engine, sleeper: Container) -> None:
    if enforced("pids"):
        assert cgroup_value(sleeper, "pids", ("pids.max",)) == "4096"


def test_the_files_a_process_may_open_and_no_core(engine: Engine) -> None:
    output = engine.containers.run(BASE, ["sh", "-c", "ulimit -n; ulimit -c"], network="none", remove=True)
    assert output == b"1024\n0\n"


def test_what_cannot_be_enforced_is_said(engine: Engine, sleeper: Container) -> None:
    limits = engine.info()["Limits"]
    assert isinstance(limits, dict)
    assert set(limits) >= {"memory", "cpu", "pids"}
    weak = [name for name, reason in limits.items() if reason != "enforced"]
    warnings = engine.info()["Warnings"]
    assert isinstance(warnings, list)
    assert all(any(str(text).startswith(f"{name} limits are not enforced") for text in warnings) for name in weak)
    if not weak:
        assert sleeper.warnings == ()

"""REL-13: the same life again and again in one process: nothing grows. ``NBC_SOAK=1000`` for as many cycles (100 without it)."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from tests import groups
from tests.home import BASE, Home

pytestmark = [pytest.mark.root, pytest.mark.timeout(3600)]

CYCLES = int(os.environ.get("NBC_SOAK", "100"))
STEP = 5
WARM = 2
"""The first samples are left out: what is loaded on first use."""

ALLOWED = {"resident KiB": 300, "resident KiB of the spawner": 300, "database KiB": 8, "memory groups in the kernel": 110}
"""Growth in 100 cycles that is none, where it is not less than one: an allocator's arena, a page of SQLite,
groups that the kernel keeps while a page of theirs is cached (one a cycle at most; those that exist are counted beside them)."""


def test_rel13_nothing_grows(place: Home, engine: Engine) -> None:
    samples: list[dict[str, float]] = []
    times: list[float] = []
    ids: list[str] = []
    said = _kernel_complaints()
    for number in range(CYCLES):
        identity, took = _life(engine)
        ids.append(identity)
        times.append(took)
        if number % STEP == STEP - 1:
            samples.append(_sizes(engine, place, ids))
    slopes = {kind: _slope([sample[kind] for sample in samples[WARM:]]) * 100 / STEP for kind in samples[0]}
    _print(samples, slopes, times)
    assert {kind: slope for kind, slope in slopes.items() if slope >= _allowed(kind)} == {}
    some = min(100, CYCLES // 3)
    first, last = statistics.median(times[:some]), statistics.median(times[-some:])
    assert last <= (1.2 if CYCLES >= 1000 else 1.5) * first
    assert _kernel_complaints() - said == set()


def _life(engine: Engine) -> tuple[str, float]:
    """One life with everything on; returns the container's id and how long its start took."""
    container = engine.containers.create(BASE, ["sleep", "1000"], stop_timeout=0, volumes=["/data"], mem_limit="64m")
    began = time.monotonic()
    container.start()
    took = time.monotonic() - began
    assert isinstance(container, Container)
    assert container.exec_run("true").exit_code == 0
    assert container.exec_run("true", tty=True).exit_code == 0
    container.stop(timeout=0)
    container.remove(v=True)
    return container.id, took


def _allowed(kind: str) -> float:
    memory = kind.startswith("resident") and CYCLES < 500
    return 2000 if memory else ALLOWED.get(kind, 1)  # a few samples: an allocator takes memory in steps


def _sizes(engine: Engine, place: Home, ids: list[str]) -> dict[str, float]:
    engine._parts.store.disk.settle()
    gc.collect()
    spawner = engine._parts.runtime._starter.pid()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "descriptors of the spawner": len(os.listdir(f"/proc/{spawner}/fd")),
        "children of the spawner": len(Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()),
        "threads": int(_status("self")["Threads"]),
        "resident KiB": int(_status("self")["VmRSS"].split()[0]),
        "resident KiB of the spawner": int(_status(str(spawner))["VmRSS"].split()[0]),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "cgroups": len(groups.named(lambda name: name in ids)),
        "memory groups in the kernel": _memory_groups(),
        "links": len(os.listdir("/sys/class/net")),
        "firewall lines": _firewall_lines(),
        "terminals": int(Path("/proc/sys/kernel/pty/nr").read_text()),
        "database KiB": (place.root / "nbc.db").stat().st_size / 1024,
        "files of the store": sum(len(files) for _, _, files in os.walk(place.root)),
        "run directory": len(os.listdir(place.run / "c")),
    }


def _status(pid: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def _memory_groups() -> int:
    """With those that are removed and still hold a page (dying): /proc/cgroups counts them."""
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()]
    return next(int(row[2]) for row in rows if row[0] == "memory")


def _firewall_lines() -> int:
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines())


def _kernel_complaints() -> set[str]:
    done = subprocess.run(["dmesg"], capture_output=True, text=True, check=False)
    return {
        line
        for line in done.stdout.splitlines()
        if any(word in line for word in ("BUG:", "WARNING: CPU", "blocked for more", "unregister_netdevice"))
    }


def _slope(values: list[float]) -> float:
    """The least squares slope per sample."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    spread = sum((x - middle) ** 2 for x in range(len(values)))
    return sum((x - middle) * (y - mean) for x, y in enumerate(values)) / spread if spread else 0.0


def _print(samples: list[dict[str, float]], slopes: dict[str, float], times: list[float]) -> None:
    print(f"{CYCLES} cycles: create, start, exec, exec -t, stop, rm\n{'':30}{'first':>10}{'last':>10}{'per 100':>10}")
    for kind, slope in slopes.items():
        print(f"{kind:30}{samples[WARM][kind]:10.0f}{samples[-1][kind]:10.0f}{slope:10.2f}")
    some = min(100, CYCLES // 3)
    print(
        f"start, median ms: first {some}: {1000 * statistics.median(times[:some]):.1f}, last: {1000 * statistics.median(times[-some:]):.1f}"
    )

"""REL-13: the same life again and again: nothing grows. ``NBC_SOAK=1000`` for as many cycles."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from tests.home import BASE, Home

pytestmark = [pytest.mark.root, pytest.mark.timeout(3600)]

CYCLES = int(os.environ.get("NBC_SOAK", "40"))
STEP = 10


def test_rel13_nothing_grows(place: Home, engine: Engine) -> None:
    samples: list[dict[str, float]] = []
    times: list[float] = []
    for number in range(CYCLES):
        began = time.monotonic()
        container = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, stop_timeout=0)
        assert isinstance(container, Container)
        times.append(time.monotonic() - began)
        assert container.exec_run("true").exit_code == 0
        container.stop(timeout=0)
        container.remove()
        if number % STEP == STEP - 1:
            samples.append(_sizes(engine, place))
    slopes = {kind: _slope([sample[kind] for sample in samples]) * 100 / STEP for kind in samples[0]}
    print(slopes, times[0], times[-1])
    assert {kind: slope for kind, slope in slopes.items() if slope >= _allowed(kind)} == {}
    if CYCLES >= 200:
        assert sum(times[-50:]) < 1.5 * sum(times[50:100])


def _allowed(kind: str) -> float:
    """Per 100 cycles; memory in KiB: what an allocator needs for a start."""
    return {"resident": 2000 if CYCLES < 200 else 300, "database": 8}.get(kind, 1)


def _sizes(engine: Engine, place: Home) -> dict[str, float]:
    engine._parts.store.disk.settle()
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    spawner = engine._parts.runtime._starter.pid()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "descriptors of the spawner": len(os.listdir(f"/proc/{spawner}/fd")),
        "children of the spawner": len(Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()),
        "threads": int(status["Threads"]),
        "resident": int(status["VmRSS"].split()[0]),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "database": (place.root / "nbc.db").stat().st_size / 1024,
        "run directory": len(os.listdir(place.run / "c")),
    }


def _slope(values: list[float]) -> float:
    """The least squares slope per sample, without the first one (what is loaded lazily)."""
    kept = values[1:]
    middle, mean = (len(kept) - 1) / 2, sum(kept) / len(kept)
    spread = sum((x - middle) ** 2 for x in range(len(kept)))
    return sum((x - middle) * (y - mean) for x, y in enumerate(kept)) / spread if spread else 0.0

"""REL-12, REL-33: fifty containers at once, and what fifty cost that do nothing.

``NBC_CROWD=200`` for another number, ``NBC_IDLE_S=600`` to watch them longer than some seconds.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from tests.home import BASE, Home

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

MANY = int(os.environ.get("NBC_CROWD", "50"))
IDLE_S = float(os.environ.get("NBC_IDLE_S", "10"))
THREADS = 16


def at_once(action: Callable[[int], float]) -> list[float]:
    with ThreadPoolExecutor(THREADS) as threads:
        return sorted(threads.map(action, range(MANY)))


def test_rel12_rel33_many_at_once_and_idle(place: Home, engine: Engine) -> None:
    containers: dict[int, Container] = {}

    def start(number: int) -> float:
        began = time.monotonic()
        container = engine.containers.run(BASE, ["sleep", "100000"], name=f"c{number}", detach=True, stop_timeout=1)
        assert isinstance(container, Container)
        containers[number] = container
        return time.monotonic() - began

    def ask(number: int) -> float:
        began = time.monotonic()
        assert containers[number].exec_run(["echo", str(number)]).output == b"%d\n" % number
        return time.monotonic() - began

    def stop(number: int) -> float:
        began = time.monotonic()
        containers[number].stop(timeout=0)
        containers[number].remove()
        return time.monotonic() - began

    began = time.monotonic()
    starts = at_once(start)
    up = time.monotonic() - began
    assert {container.name for container in engine.containers.list()} == {f"c{number}" for number in range(MANY)}
    answers = at_once(ask)
    _idle(place, engine, list(containers.values()))
    private = [_private_kib(container.state.monitor_pid) for container in containers.values()]
    began = time.monotonic()
    ends = at_once(stop)
    for name, times in (("start", starts), ("exec", answers), ("stop and rm", ends)):
        print(f"{name:12} median {1000 * statistics.median(times):6.0f} ms   p95 {1000 * times[int(0.95 * MANY)]:6.0f} ms")
    print(f"{MANY} up in {up:.2f} s, gone in {time.monotonic() - began:.2f} s; private memory of a monitor: {max(private)} KiB")
    assert engine.containers.list(all=True) == []
    assert place.remains() == {}
    assert max(private) < 10 * 1024
    assert statistics.median(starts) < 2 * THREADS / 16 + 2  # of an idle machine p95 is below 2 s; a busy one is given more
    assert starts[int(0.95 * MANY)] < 10


def _idle(place: Home, engine: Engine, containers: list[Container]) -> None:
    """Nobody polls: neither the engine's helpers nor the monitors wake up, and nothing takes time."""
    monitors = [container.state.monitor_pid for container in containers]
    _settled(monitors)
    time.sleep(1)  # what the spawner keeps ready is ready, and what was over is gone
    pids = monitors + _helpers(engine)
    before, began = {pid: (_cpu_s(pid), _switches(pid)) for pid in pids}, time.monotonic()
    time.sleep(IDLE_S)
    took = time.monotonic() - began
    spent = sum(_cpu_s(pid) - before[pid][0] for pid in pids)
    woken = {pid: (_switches(pid) - before[pid][1]) / took for pid in pids}
    print(f"{len(pids)} processes, {took:.0f} s idle: {100 * spent / took:.3f} % of a core, {max(woken.values()):.2f} wake-ups/s")
    assert spent / took < 0.005
    assert max(woken.values()) < 1
    assert sum(woken.values()) < 1


def _helpers(engine: Engine) -> list[int]:
    spawner = engine._parts.runtime._starter.pid()
    return [spawner, *map(int, Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split())]


def _settled(pids: list[int]) -> None:
    """Wait until nobody has anything left to do from before."""
    deadline, last = time.monotonic() + 20, -1
    while (now := sum(map(_switches, pids))) != last:
        assert time.monotonic() < deadline
        last = now
        time.sleep(0.3)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _switches(pid: int) -> int:
    return int(re.findall(r"\nvoluntary_ctxt_switches:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])


def _private_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"Private_\w+:\s+(\d+) kB", text)))

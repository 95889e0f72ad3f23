"""Memory that only the engine's processes hold while a container sleeps, and while nothing runs at all."""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.measure import NO_TARGET, Row, Target, Unavailable, at_most
from tests.bench.ours import IMAGE
from tests.bench.peers.podman import CGROUP
from tests.bench.peers.tool import Tool

_WORK, _DAEMONS = "memory of one idle container", "memory that stays with no container"


def rows(bench: Bench) -> list[Row]:
    """Measure the process beside each of ``repeat`` sleeping containers: our monitor, containerd's shim, conmon."""
    containers = [bench.ours.idle() for _ in range(bench.repeat)]
    try:
        ours = statistics.median(_private(c.state.monitor_pid) for c in containers)
    finally:
        for container in containers:
            container.remove(force=True)
    spawner = sum(map(_private, _pids("notebook_containers.runtime.spawner")))
    docker = _beside(bench.docker, "containerd-shim", bench.repeat)
    conmon = _beside(bench.podman, "conmon", bench.repeat, "--cgroup-parent", CGROUP)
    daemons = bench.docker.missing or sum(map(_private, (*_pids("dockerd --host"), *_pids("containerd --config"))))
    return [
        _row(_WORK, ours, "docker (shim)", docker, at_most(10, "MB")),
        _row(_WORK, ours, "podman (conmon)", conmon, NO_TARGET),
        _row(_DAEMONS, spawner, "docker (dockerd, containerd)", daemons, NO_TARGET),
    ]


def _row(work: str, ours: float, peer: str, theirs: float | str, target: Target) -> Row:
    if isinstance(theirs, str):
        return Row(work=work, ours=ours, peer=peer, missing=theirs, target=target, unit="MB")
    return Row(work=work, ours=ours, peer=peer, theirs=theirs, target=target, unit="MB")


def _beside(tool: Tool, program: str, count: int, *words: str) -> float | str:
    names = [f"bench-idle-{number}" for number in range(count)]
    try:
        ids = [tool.call("run", "-d", "--network", "none", "--name", n, *words, IMAGE, "sleep", "1000").strip() for n in names]
        return statistics.median(_private(pid) for identity in ids for pid in _pids(program, identity))
    except Unavailable as err:
        return str(err)
    finally:
        with suppress(Unavailable):
            tool.call("rm", "--force", *names)


def _pids(*parts: str) -> Iterable[int]:
    """Yield the processes whose command line holds every part."""
    wanted: Callable[[str], bool] = lambda line: all(part in line for part in parts)  # noqa: E731
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            if wanted(Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")):
                yield int(name)


def _private(pid: int) -> float:
    """Return the megabytes of a process that it shares with no other."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kilobytes) for kilobytes in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", text, re.MULTILINE)) / 1000

"""Pushing 204 MB of this machine's own programs and libraries as one layer to a local registry; pulling it; the memory of a pull of 2 GB.

Real files, because what is random does not compress and hides half of a push's work.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.measure import NO_TARGET, Contender, Row, Target, Unavailable, at_most, contest, faster
from tests.bench.peers.registry import Registry, registry
from tests.bench.peers.tool import Tool
from tests.bench.rows.unpack import BYTES, FILES

_MEGABYTES = BYTES // 1_000_000
_LARGE_BYTES = 2_000_000_000


def push(bench: Bench) -> list[Row]:
    """Time a push to an empty registry; afterwards the registry forgets it."""
    with registry(bench.place) as there, _tree(bench, there) as name:
        return contest(
            f"push a layer, gzip, {_MEGABYTES} MB of real files",
            Contender(act=lambda: bench.ours.engine.images.push(name), reset=there.forget),
            {
                "docker": Contender(act=lambda: bench.docker.call("push", name), reset=there.forget, target=faster(6)),
                "podman": Contender(
                    act=lambda: bench.podman.call("push", "--tls-verify=false", name), reset=there.forget, target=faster(6)
                ),
            },
            repeat=bench.repeat,
        )


def pull(bench: Bench) -> list[Row]:
    """Time a pull of what we pushed (gzip); afterwards it is removed again."""
    with registry(bench.place) as there, _tree(bench, there) as name:
        bench.ours.engine.images.push(name)

        def forget() -> None:
            bench.ours.engine.images.remove(name, force=True)

        forget()
        for tool in (bench.docker, bench.podman):
            with suppress(Unavailable):
                tool.call("rmi", "--force", name)
        return contest(
            f"pull it, gzip, {_MEGABYTES} MB of real files",
            Contender(act=lambda: bench.ours.engine.images.pull(name), reset=forget),
            {
                "docker": _puller(bench.docker, name, "pull"),
                "podman": _puller(bench.podman, name, "pull", "--tls-verify=false"),
            },
            repeat=bench.repeat,
        )


def memory(bench: Bench) -> list[Row]:
    """Measure the largest memory that one pull of a layer of 2 GB ever had, each in a process of its own."""
    work = f"memory of a pull, one layer of {_LARGE_BYTES // 1_000_000} MB"
    with registry(bench.place) as there:
        name = f"{there.address}/large:1"
        image = bench.ours.engine.images.import_image(_large(), name)
        bench.ours.engine.images.push(name)
        bench.ours.engine.images.remove(image.id, force=True)
        ours = _peak([sys.executable, "-m", "notebook_containers", "pull", "-q", name], bench.ours.environment)
        bench.ours.engine.images.remove(name, force=True)
        return [
            _memory_row(work, ours, "docker (dockerd)", lambda: _daemon_peak(bench.docker, name), at_most(100, "MB")),
            _memory_row(work, ours, "podman", lambda: _tool_peak(bench.podman, "pull", "--tls-verify=false", name), NO_TARGET),
        ]


def _puller(tool: Tool, name: str, *words: str) -> Contender:
    return Contender(act=lambda: tool.call(*words, name), reset=lambda: tool.call("rmi", "--force", name), target=faster(1.5))


@contextmanager
def _tree(bench: Bench, there: Registry) -> Iterator[str]:
    """Import the tree everywhere under a name of the registry."""
    name = f"{there.address}/tree:1"
    archive = _archive(bench.place)
    with open(archive, "rb") as stream:
        bench.ours.engine.images.import_image(stream, name)
    for tool in (bench.docker, bench.podman):
        with suppress(Unavailable):
            tool.call("import", str(archive), name)
    archive.unlink()
    try:
        yield name
    finally:
        with suppress(Exception):
            bench.ours.engine.images.remove(name, force=True)
        for tool in (bench.docker, bench.podman):
            with suppress(Unavailable):
                tool.call("rmi", "--force", name)


def _archive(place: Path) -> Path:
    """Write a tar archive of the machine's own files, the same ones each time: 204 MB in at most 6,800, most bytes in few of them."""
    path = place / "own.tar"
    with tarfile.open(path, "w") as archive:
        left, count = _add(archive, ("/usr/bin", "/usr/lib/x86_64-linux-gnu"), bytes_=BYTES * 4 // 5, files=FILES // 4, largest=BYTES // 10)
        _add(archive, ("/usr/share",), bytes_=BYTES // 5 + left, files=FILES * 3 // 4 + count, largest=BYTES // 100)
    return path


def _add(archive: tarfile.TarFile, tops: Sequence[str], *, bytes_: int, files: int, largest: int) -> tuple[int, int]:
    """Add the regular files below ``tops`` within the bounds; return how many bytes and files the bounds still allow."""
    for top in tops:
        for folder, names, found in os.walk(top):
            names.sort()
            for name in sorted(found):
                path = os.path.join(folder, name)
                size = os.lstat(path).st_size
                if files and size <= min(bytes_, largest) and os.path.isfile(path) and not os.path.islink(path):
                    archive.add(path, path.lstrip("/"))
                    bytes_, files = bytes_ - size, files - 1
    return bytes_, files


def _large() -> Iterator[bytes]:
    """Yield a tar archive of 2 GB that hardly compresses, without having it anywhere."""
    pool = os.urandom(1 << 20)
    entry = tarfile.TarInfo("large")
    entry.size = _LARGE_BYTES
    yield entry.tobuf()
    for _ in range(entry.size // len(pool)):
        yield pool
    rest = entry.size % len(pool)
    yield pool[:rest] + b"\0" * (-rest % 512)
    yield io.BytesIO(b"\0" * 10240).read()


def _peak(command: list[str], environment: dict[str, str]) -> float:
    """Run a command and return the largest resident memory it ever had, in MB (looked at all the time: rusage counts the parent's too)."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        largest = 0.0
        while process.poll() is None:
            largest = max(largest, _high_water(process.pid))
            time.sleep(0.01)
        said = process.stderr.read().decode(errors="replace") if process.stderr else ""
    if process.returncode:
        raise Unavailable(f"cannot {command[-1]}: {said.strip()[-160:]}")
    return largest


def _high_water(pid: int) -> float:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), 0.0)
    return 0.0


def _tool_peak(tool: Tool, *words: str) -> float:
    if tool.missing:
        raise Unavailable(tool.missing)
    return _peak(tool.command(*words), tool.environment)


def _daemon_peak(tool: Tool, name: str) -> float:
    """Return the largest memory of Docker's daemon while it pulls (its unpacking child not counted)."""
    if tool.missing:
        raise Unavailable(tool.missing)
    pid = int((Path(tool.environment["DOCKER_CONFIG"]) / "pid").read_text())
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): the peak begins anew
    tool.call("pull", name)
    return _high_water(pid)


def _memory_row(work: str, ours: float, peer: str, measure: Callable[[], float], target: Target) -> Row:
    try:
        return Row(work=work, ours=ours, peer=peer, theirs=measure(), target=target, unit="MB")
    except Unavailable as err:
        return Row(work=work, ours=ours, peer=peer, missing=str(err), target=target, unit="MB")

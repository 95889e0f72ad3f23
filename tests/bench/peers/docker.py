"""Docker as Debian packages it: a daemon of our own on a private socket, with its data, state and bridge on the stage."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench.machine import SEARCH
from tests.bench.measure import Unavailable
from tests.bench.peers.tool import Tool
from tests.bench.peers.traces import taken_back
from tests.bench.stage import volatile

SUBNET = "10.213.77.1/24"
CGROUP = "nbc-bench-docker"
_START_S = 60


@contextmanager
def docker(place: Path, *, cgroup: str = CGROUP, options: Sequence[str] = ()) -> Iterator[Tool]:
    """Give a client of a running daemon (``options`` are the daemon's); it is stopped by its pid at the end, its ``cgroup`` removed."""
    home = place / "docker"
    home.mkdir()
    client = _client(home, buildkit=False)
    if not shutil.which("dockerd", path=SEARCH):
        client.rule_out("not installed")
    if client.missing:
        yield client
        return
    with taken_back(), open(home / "log", "wb") as log:
        daemon = subprocess.Popen([*_command(home, cgroup), *options], env={"PATH": SEARCH, "HOME": "/root"}, stdout=log, stderr=log)
        try:
            _await(client, daemon, home / "log")
            yield client
        finally:
            _remove_containers(client)
            daemon.terminate()
            daemon.wait(timeout=60)
            remove_cgroups(cgroup)


def with_buildkit(client: Tool, place: Path) -> Tool:
    """Give a client of the same daemon that builds with BuildKit instead of the classic builder."""
    other = _client(place / "docker", buildkit=True)
    if client.missing:
        other.rule_out(client.missing)
    return other


def _client(home: Path, *, buildkit: bool) -> Tool:
    environment = {"DOCKER_CONFIG": str(home), "DOCKER_BUILDKIT": str(int(buildkit))}
    return Tool("docker", ["--host", f"unix://{home}/sock"], environment=environment)


def _command(home: Path, cgroup: str) -> list[str]:
    return [
        shutil.which("dockerd", path=SEARCH) or "dockerd",
        *("--host", f"unix://{home}/sock", "--pidfile", str(home / "pid"), "--log-level", "error"),
        *("--data-root", str(home / "data"), "--exec-root", str(volatile("docker", home / "exec"))),
        *("--bip", SUBNET, "--cgroup-parent", f"/{cgroup}"),
    ]


def _await(client: Tool, daemon: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and daemon.poll() is None:
        with suppress(Unavailable):
            client.call("version")
            return
        time.sleep(0.1)
    lines = log.read_text(errors="replace").splitlines()
    client.rule_out(f"its daemon does not start: {lines[-1][:160] if lines else 'no reason given'}")


def _remove_containers(client: Tool) -> None:
    with suppress(Unavailable):
        left = client.call("ps", "--all", "--quiet").split()
        if left:
            client.call("rm", "--force", *left)


def remove_cgroups(name: str) -> None:
    """Remove the (empty) cgroups that lie in a top-level cgroup called ``name``, in every hierarchy."""
    for top in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        for directory in sorted((p for p in [top, *top.rglob("*")] if p.is_dir()), reverse=True):
            with suppress(OSError):
                directory.rmdir()

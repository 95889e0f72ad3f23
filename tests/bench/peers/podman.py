"""Podman and Buildah, which share one private store; and Podman's networks, kept on the stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import Unavailable
from tests.bench.peers.docker import remove_cgroups
from tests.bench.peers.tool import Tool
from tests.bench.stage import volatile

CGROUP = "nbc-bench-podman"
_CONMON = "libpod_parent"  # podman makes it for its own helper, whatever it is told

_CONTAINERS_CONF = """[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "none"
tmp_dir = "{home}/tmp"
network_cmd_path = ""
[network]
network_config_dir = "{home}/networks"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """The two tools over one store."""

    podman: Tool
    buildah: Tool


@contextmanager
def podman(place: Path) -> Iterator[Pods]:
    """Give both tools; containers and cgroups are removed at the end."""
    home = place / "podman"
    (home / "networks").mkdir(parents=True)
    configuration = home / "containers.conf"
    configuration.write_text(_CONTAINERS_CONF.format(home=home))
    (home / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    storage = ["--root", str(home / "store"), "--runroot", str(volatile("containers", home / "run")), "--storage-driver", "overlay"]
    environment = {"CONTAINERS_CONF": str(configuration), "BUILDAH_RUNTIME": "runc", "TMPDIR": str(home)}
    tools = Pods(
        podman=Tool("podman", [*storage, "--log-level", "error"], environment=environment),
        buildah=Tool("buildah", [*storage, "--log-level", "error"], environment=environment),
    )
    try:
        yield tools
    finally:
        with suppress(Unavailable):
            tools.podman.call("rm", "--force", "--all", "--time", "0")
        for name in (CGROUP, _CONMON):
            remove_cgroups(name)

"""Every tool that shares images, each with places of its own, and a real registry between them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from notebook_containers import Engine
from tests.bench.peers.docker import docker
from tests.bench.peers.podman import podman
from tests.bench.peers.tool import Tool
from tests.home import new_home
from tests.needs import SEARCH, need
from tests.registry.conftest import CONFIG, PROGRAM, free_port, wait_for

CGROUP = "nbc-interchange"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Our engine, the others, the registry's ``host:port``, and a directory for files."""

    ours: Engine
    docker: Tool
    podman: Tool
    skopeo: Tool
    umoci: Tool
    registry: str
    place: Path


@contextmanager
def unmounted(place: Path) -> Iterator[None]:
    """Unmount afterwards what the tools leave mounted below a directory (docker its data, podman its store)."""
    yield
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        target = line.split()[4]
        if target.startswith(f"{place}/"):
            subprocess.run(["umount", "--lazy", target], check=True)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Start them all once; everything is gone afterwards."""
    for program in ("dockerd", "podman", "skopeo", "umoci", "docker-registry"):
        need(shutil.which(program, path=SEARCH), program)
    with (
        tempfile.TemporaryDirectory(prefix="nbci-", dir="/tmp") as text,
        new_home() as home,
        unmounted(Path(text)),
        docker(Path(text), cgroup=CGROUP) as daemon,
        podman(Path(text)) as pods,
        home.open() as ours,
    ):
        place = Path(text) / "files"
        place.mkdir()
        with open(place / "log", "wb") as log:
            port = free_port()
            (place / "config.yml").write_text(CONFIG.format(folder=place / "data", port=port, auth="", tls=""))
            server = subprocess.Popen([PROGRAM, "serve", place / "config.yml"], stdout=log, stderr=log)
        try:
            wait_for(port)
            skopeo = Tool("skopeo", ["--insecure-policy"], environment={"TMPDIR": text})
            yield Stage(
                ours=ours,
                docker=daemon,
                podman=Tool("unshare", ["--mount", *pods.podman.command()], environment=pods.podman.environment),
                skopeo=skopeo,
                umoci=Tool("umoci"),
                registry=f"127.0.0.1:{port}",
                place=place,
            )
        finally:
            server.terminate()
            server.wait(timeout=20)

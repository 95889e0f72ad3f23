"""What every row gets: our side, the peers with the same image, and how often to repeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.ours import IMAGE, Ours
from tests.bench.peers.bubblewrap import bubblewrap
from tests.bench.peers.docker import docker, with_buildkit
from tests.bench.peers.podman import podman
from tests.bench.peers.tool import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The contenders of one run; ``place`` is a temporary directory, ``archive`` the root file system that all run."""

    place: Path
    archive: Path
    repeat: int
    ours: Ours
    docker: Tool
    buildkit: Tool
    podman: Tool
    buildah: Tool
    bubblewrap: Tool


@contextmanager
def opened(place: Path, repeat: int) -> Iterator[Bench]:
    """Start everybody, import the same root file system everywhere, and stop everybody at the end."""
    archive = place / "base.tar"
    with ExitStack() as stack:
        ours = Ours(place)
        stack.callback(ours.close)
        ours.export(archive)
        daemon = stack.enter_context(docker(place))
        pods = stack.enter_context(podman(place))
        for tool in (daemon, pods.podman):
            tool.load(archive, IMAGE)
        yield Bench(
            place=place,
            archive=archive,
            repeat=repeat,
            ours=ours,
            docker=daemon,
            buildkit=with_buildkit(daemon, place),
            podman=pods.podman,
            buildah=pods.buildah,
            bubblewrap=bubblewrap(place, archive),
        )

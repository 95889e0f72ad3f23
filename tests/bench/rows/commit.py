"""Committing a container that got 204 MB in 6,800 files: its changes are packed, digested, unpacked for the image and recorded."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.measure import Contender, Row, Unavailable, contest, faster
from tests.bench.ours import IMAGE
from tests.bench.peers.tool import Tool
from tests.bench.rows.unpack import BYTES, FILES, tree_archive

NAME = "localhost/committed"
_CONTAINER = "bench-commit"


def rows(bench: Bench) -> list[Row]:
    """Time it against docker and podman, each with a stopped container of its own store."""
    archive = tree_archive(bench.place)
    container = bench.ours.engine.containers.create(IMAGE, ["true"], network="none")
    try:
        with open(archive, "rb") as stream:
            container.put_archive("/", stream)
        return contest(
            f"commit a container, {BYTES // 1_000_000} MB, {FILES} files",
            Contender(act=lambda: container.commit("committed"), reset=lambda: bench.ours.engine.images.remove("committed", force=True)),
            {
                "docker": _committer(bench.docker, archive, "commit"),
                "podman": _committer(bench.podman, archive, "commit", "--quiet"),
            },
            repeat=bench.repeat,
        )
    finally:
        container.remove(force=True)
        archive.unlink()


def _committer(tool: Tool, archive: Path, *words: str) -> Contender:
    made: list[str] = []

    def forget() -> None:
        tool.call("rmi", "--force", NAME)

    with suppress(Unavailable):  # the row says why, when it is measured
        made.append(tool.call("create", "--name", _CONTAINER, "--network", "none", IMAGE, "true").strip())
        with open(archive, "rb") as stream:
            subprocess.run(tool.command("cp", "-", f"{made[0]}:/"), env=tool.environment, stdin=stream, check=True, capture_output=True)
    return Contender(act=lambda: tool.call(*words, *made, NAME), reset=forget, target=faster(2))

"""``exec CONTAINER true`` in a running container, from a warm process."""

from __future__ import annotations

from contextlib import suppress

from tests.bench.bench import Bench
from tests.bench.measure import Contender, Row, Unavailable, contest, faster
from tests.bench.ours import IMAGE
from tests.bench.peers.podman import CGROUP
from tests.bench.peers.tool import Tool

NAME = "bench-exec"
_IDLE = ("run", "--detach", "--network", "none", "--name", NAME)


def rows(bench: Bench) -> list[Row]:
    """Time it against docker and podman."""
    container = bench.ours.idle()
    try:
        _start(bench.docker)
        _start(bench.podman, "--cgroup-parent", CGROUP)
        return contest(
            "exec CONTAINER true",
            Contender(act=lambda: container.exec_run("true")),
            {
                "docker": Contender(act=lambda: bench.docker.call("exec", NAME, "true"), target=faster(8)),
                "podman": Contender(act=lambda: bench.podman.call("exec", NAME, "true")),
            },
            repeat=bench.repeat,
        )
    finally:
        container.remove(force=True)
        for tool in (bench.docker, bench.podman):
            with suppress(Unavailable):
                tool.call("rm", "--force", NAME)


def _start(tool: Tool, *words: str) -> None:
    with suppress(Unavailable):  # its exec then says why
        tool.call(*_IDLE, *words, IMAGE, "sleep", "1000")

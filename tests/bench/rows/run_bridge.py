"""``run --rm IMAGE true`` on the bridge network from a warm process, all defaults on."""

from __future__ import annotations

from tests.bench.bench import Bench
from tests.bench.measure import Contender, Row, at_most, contest, faster
from tests.bench.ours import IMAGE
from tests.bench.peers.podman import CGROUP


def rows(bench: Bench) -> list[Row]:
    """Time it against docker and podman."""
    run = bench.ours.engine.containers.run
    return contest(
        "run --rm, bridge, warm",
        Contender(act=lambda: run(IMAGE, "true", remove=True), target=at_most(33)),
        {
            "docker": Contender(act=lambda: bench.docker.call("run", "--rm", IMAGE, "true"), target=faster(10)),
            "podman": Contender(act=lambda: bench.podman.call("run", "--rm", "--cgroup-parent", CGROUP, IMAGE, "true")),
        },
        repeat=bench.repeat,
    )

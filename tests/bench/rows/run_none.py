"""``run --rm --network none IMAGE true`` from a warm process, such as a notebook's kernel."""

from __future__ import annotations

from tests.bench.bench import Bench
from tests.bench.measure import Contender, Row, contest, faster, within
from tests.bench.ours import IMAGE
from tests.bench.peers.podman import CGROUP

WORDS = ("run", "--rm", "--network", "none", IMAGE, "true")


def rows(bench: Bench) -> list[Row]:
    """Time it against docker, podman and the floor."""
    run = bench.ours.engine.containers.run
    return contest(
        "run --rm --network none, warm",
        Contender(act=lambda: run(IMAGE, "true", remove=True, network="none")),
        {
            "docker": Contender(act=lambda: bench.docker.call(*WORDS), target=faster(15)),
            "podman": Contender(act=lambda: bench.podman.call("run", "--cgroup-parent", CGROUP, *WORDS[1:])),
            "bubblewrap": Contender(act=lambda: bench.bubblewrap.call("true"), target=within(4)),
        },
        repeat=bench.repeat,
    )

"""``nbc run --rm IMAGE true``: the same from the command line, where Python starts cold each time."""

from __future__ import annotations

from tests.bench.bench import Bench
from tests.bench.measure import Contender, Row, contest, faster
from tests.bench.ours import IMAGE


def rows(bench: Bench) -> list[Row]:
    """Time it against docker's command line, with and without a network."""
    nothing, bridge = ("run", "--rm", "--network", "none", IMAGE, "true"), ("run", "--rm", IMAGE, "true")
    found = []
    for work, words in (("nbc run --rm, bridge, cold", bridge), ("nbc run --rm --network none, cold", nothing)):
        peers = {"docker": Contender(act=lambda words=words: bench.docker.call(*words), target=faster(2.5))}  # type: ignore[misc]
        ours = Contender(act=lambda words=words: bench.ours.call(*words))  # type: ignore[misc]
        found += contest(work, ours, peers, repeat=bench.repeat)
    return found

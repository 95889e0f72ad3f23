"""Putting a container into a network in which nobody is, and in which a hundred are: what it costs may not grow with them."""

from __future__ import annotations

import statistics
import time

from notebook_containers.engine.container import Container
from tests.bench.bench import Bench
from tests.bench.measure import Row, within
from tests.bench.ours import IMAGE

COUNT = 100
_NETWORK = "nbc-bench-attaching"


def rows(bench: Bench) -> list[Row]:
    """Compare the 100th with the first."""
    engine = bench.ours.engine
    engine.networks.create(_NETWORK)
    made: list[Container] = []
    try:
        made.append(_idle(bench))
        first = _attach_ms(bench, made[0])
        made += [_idle(bench, network=_NETWORK) for _ in range(COUNT - 1)]
        last = _attach_ms(bench, made[0])
    finally:
        for container in made:
            container.remove(force=True)
        engine.networks.remove(_NETWORK)
    return [Row(work=f"attach the {COUNT}th container", ours=last, peer="the first", theirs=first, target=within(1.2))]


def _idle(bench: Bench, network: str = "bridge") -> Container:
    made = bench.ours.engine.containers.run(IMAGE, ["sleep", "1000"], detach=True, network=network, stop_timeout=0)
    assert isinstance(made, Container)
    return made


def _attach_ms(bench: Bench, container: Container) -> float:
    taken = []
    for _ in range(3 * bench.repeat):
        began = time.perf_counter()
        bench.ours.engine.networks.connect(_NETWORK, container)
        taken.append((time.perf_counter() - began) * 1000)
        bench.ours.engine.networks.disconnect(_NETWORK, container)
    return statistics.median(taken)

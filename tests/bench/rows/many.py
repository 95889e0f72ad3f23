"""Fifty ``run --rm`` at once on the bridge network: fifty threads of one process here, fifty clients there."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.bench.bench import Bench
from tests.bench.measure import Contender, Row, contest, faster
from tests.bench.ours import IMAGE

COUNT = 50


def rows(bench: Bench) -> list[Row]:
    """Time all fifty until the last has ended, against docker."""
    run = bench.ours.engine.containers.run
    return contest(
        f"{COUNT} run --rm at once, bridge",
        Contender(act=lambda: _at_once(lambda: run(IMAGE, "true", remove=True))),
        {"docker": Contender(act=lambda: _at_once(lambda: bench.docker.call("run", "--rm", IMAGE, "true")), target=faster(5))},
        repeat=bench.repeat,
    )


def _at_once(action: Callable[[], object]) -> None:
    with ThreadPoolExecutor(COUNT) as pool:
        for future in [pool.submit(action) for _ in range(COUNT)]:
            future.result()

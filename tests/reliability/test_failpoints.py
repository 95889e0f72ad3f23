"""REL-01 at every durable step: the engine's own verbs, killed at each failpoint of the store that they pass."""

from __future__ import annotations

import pytest

from tests.home import Home
from tests.reliability.test_kill_sweep import BUILD, created, damage, left_nothing, tidy, truthful
from tests.reliability.victims import Operation
from tests.store.steps import OTHERS, durable_steps

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

LIFE = f"""
from notebook_containers.store.failpoints import VARIABLE
import os
os.environ[VARIABLE] = "POINT=SKIP*off->kill9"
engine.images.build(text={BUILD!r}.replace("{{n}}", "1"), tag="swept", network="none")
container = engine.containers.create("swept", ["true"], network="none", volumes=["/data"], stop_timeout=0)
container.start()
container.wait()
container.commit("swept")
container.remove(v=True)
engine.images.remove("swept")
engine.images.prune()
print("over", flush=True)
"""


@pytest.mark.parametrize("point", [point for point in durable_steps() if point.startswith("disk.force.") or not point.startswith(OTHERS)])
def test_rel01_a_kill_at_every_durable_step_of_a_life(place: Home, point: str) -> None:
    for skip in (0, 3):
        ended = Operation(LIFE.replace("POINT", point).replace("SKIP", str(skip)), place.variables()).run()
        assert ended.code == -9 or "over" in ended.output, ended.output
        with place.open() as engine:
            assert damage(engine) == []
            truthful(engine)
            for container in engine.containers.list(all=True):
                container.remove(force=True, v=True)
            created(engine)
            assert damage(engine) == []
            tidy(engine)
            left_nothing(engine, place)

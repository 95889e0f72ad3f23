"""REL-01: whoever is killed, at whatever moment, the store is whole, the list is true, the operation can be done again, nothing stays.

``NBC_SWEEP=200`` (default 4) kills that often for each operation and victim; a failure prints the seed that repeats it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import ContainerNotFound, Error, ImageNotFound
from notebook_containers.store.check import check
from notebook_containers.store.store import Store
from tests.home import BASE, Home
from tests.reliability.victims import Operation, dice, iterations, monitor, spawner

pytestmark = [pytest.mark.root, pytest.mark.sweep, pytest.mark.timeout(1200)]

NAME = "victim"
LONG = ["sh", "-c", "while :; do echo tick; sleep 0.05; done"]
BUILD = """FROM localhost/base
RUN echo {n} > /one
WORKDIR /two
RUN sleep 0.02; echo {n} > /two/three"""
ALONE = "network='none', stop_timeout=0"


def engine_itself(pid: int) -> int:
    return pid


VICTIMS: Mapping[str, Callable[[int], int]] = {"engine": engine_itself, "spawner": spawner, "monitor": monitor}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``code`` is the operation, ``before`` what it needs, ``retry`` does it again and proves the outcome; ``{n}`` is a number."""

    code: str
    retry: Callable[[Engine, int], None]
    before: Callable[[Engine], None] = lambda engine: None


def created(engine: Engine) -> None:
    engine.containers.create(BASE, LONG, name=NAME, network="none", stop_timeout=0)


def running(engine: Engine) -> None:
    engine.containers.run(BASE, LONG, name=NAME, network="none", stop_timeout=0, detach=True)


def create_again(engine: Engine, number: int) -> None:
    if engine.containers.list(all=True):
        engine.containers.get(NAME).remove(force=True)
    created(engine)


def start_again(engine: Engine, number: int) -> None:
    container = engine.containers.get(NAME)
    container.start()
    assert container.exec_run("echo in").output == b"in\n"


def exec_again(engine: Engine, number: int) -> None:
    container = engine.containers.get(NAME)
    if container.status == "exited":  # its monitor was killed
        container.start()
    assert container.exec_run("echo in").output == b"in\n"


def stop_again(engine: Engine, number: int) -> None:
    container = engine.containers.get(NAME)
    container.stop(timeout=0)
    assert container.status == "exited"
    assert container.exit_code == 137


def remove_again(engine: Engine, number: int) -> None:
    try:
        engine.containers.get(NAME).remove(force=True)
    except ContainerNotFound:
        pass
    assert engine.containers.list(all=True) == []


def build_again(engine: Engine, number: int) -> None:
    engine.images.build(text=BUILD.format(n=number), tag="swept", network="none")
    assert engine.containers.run("swept", ["cat", "/one", "/two/three"], network="none", remove=True) == f"{number}\n{number}\n".encode()


def tag_again(engine: Engine, number: int) -> None:
    engine.images.get(BASE).tag("swept")
    assert engine.images.get("swept").id == engine.images.get(BASE).id


def prune_again(engine: Engine, number: int) -> None:
    engine.containers.prune()
    assert engine.containers.list(all=True) == []


CASES: Mapping[str, Case] = {
    "create": Case(code=f"engine.containers.create(BASE, {LONG!r}, name={NAME!r}, volumes=['/data'], {ALONE})", retry=create_again),
    "start": Case(code=f"engine.containers.get({NAME!r}).start()", retry=start_again, before=created),
    "run": Case(code=f"engine.containers.run(BASE, ['echo', 'x'], name={NAME!r}, remove=True)", retry=create_again),
    "exec": Case(code=f"engine.containers.get({NAME!r}).exec_run('echo in')", retry=exec_again, before=running),
    "stop": Case(code=f"engine.containers.get({NAME!r}).stop(timeout=0)", retry=stop_again, before=running),
    "rm": Case(code=f"engine.containers.get({NAME!r}).remove(force=True, v=True)", retry=remove_again, before=running),
    "build": Case(code=f"engine.images.build(text={BUILD!r}, tag='swept', network='none')", retry=build_again),
    "tag": Case(code="engine.images.get(BASE).tag('swept')", retry=tag_again),
    "prune": Case(code="engine.containers.prune(); engine.images.prune()", retry=prune_again, before=created),
}
SWEEPS = [
    *((name, "engine") for name in CASES),
    *((name, victim) for name in ("start", "run", "exec", "build") for victim in ("spawner", "monitor")),
]


@pytest.mark.parametrize(("name", "victim"), SWEEPS)
def test_rel01_a_kill_at_any_moment(place: Home, name: str, victim: str) -> None:
    case, chance = CASES[name], dice(f"{name}-{victim}")
    whole = [_duration(place, case, number) for number in range(2)][-1]
    for number in range(2, 2 + iterations(4)):
        once(place, case, number, victim, chance.uniform(0, whole * 1.1), chance)


def once(place: Home, case: Case, number: int, victim: str, after_s: float, chance: random.Random) -> None:
    with place.open() as engine:
        case.before(engine)
    operation = Operation(case.code.replace("{n}", str(number)), place.variables())
    ended = operation.run(after_s=after_s, victim=VICTIMS[victim])
    print(f"{number}: {victim} killed after {after_s:.4f} s: {ended}")
    began = time.monotonic()
    with place.open() as engine:
        assert damage(place) == []
        truthful(engine)
        case.retry(engine, number)
        assert damage(place) == []
        tidy(engine)
    assert time.monotonic() - began < 10
    left_nothing(place)


def _duration(place: Home, case: Case, number: int) -> float:
    with place.open() as engine:
        case.before(engine)
    ended = Operation(case.code.replace("{n}", str(number)), place.variables()).run()
    assert ended.code == 0, ended.output
    with place.open() as engine:
        tidy(engine)
    return ended.seconds


def damage(place: Home) -> list[str]:
    with Store.open(place.root) as store:
        return [str(finding) for finding in check(store, quick=True) if not finding.garbage]


def truthful(engine: Engine) -> None:
    """What the list says runs, answers; what it says is over, has no process."""
    deadline = time.monotonic() + 2
    while wrong := [c.name for c in engine.containers.list(all=True) if not _true(c)]:
        assert time.monotonic() < deadline, wrong
        time.sleep(0.02)


def _true(container: Container) -> bool:
    status, pid = container.status, container.state.pid
    if status == "running":
        try:
            return container.exec_run("true").exit_code == 0
        except Error:
            return False
    return status in ("created", "exited") and (not pid or status == "created")


def tidy(engine: Engine) -> None:
    """Remove everything that a sweep makes, by the means that a user has."""
    for container in engine.containers.list(all=True):
        container.remove(force=True, v=True)
    try:
        engine.images.remove("swept")
    except ImageNotFound:
        pass
    for volume in engine.volumes.list():
        engine.volumes.remove(volume.name)
    engine.images.prune()
    engine._parts.store.disk.settle()


def left_nothing(place: Home) -> None:
    with Store.open(place.root) as store:
        assert [str(finding) for finding in check(store, quick=True)] == []
    assert place.remains() == {}

"""REL-14: Control-C (the notebook's interrupt) at any moment inside run and build: no half state, and the engine goes on working."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import pytest

from notebook_containers import Engine
from notebook_containers.store.check import check
from tests.home import BASE, Home
from tests.reliability.victims import dice, iterations

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(600),
    # between an open and its with statement an interrupt cannot be caught: the collector closes what was opened
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


OUTSIDE = frozenset((__file__, contextlib.__file__))


@contextmanager
def interrupted(after_s: float, again_s: float = 0.0) -> Iterator[None]:
    """KeyboardInterrupt in the block after so long, if it is not over then; and a second one ``again_s`` after that, if it is not 0."""
    times, inside = [again_s] if again_s else [], [True]

    def interrupt(_number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_filename in OUTSIDE and inside:
            signal.setitimer(signal.ITIMER_REAL, 0.0001)  # on the way into the block or out of it: a moment later
            return
        if times:
            signal.setitimer(signal.ITIMER_REAL, times.pop())
        if inside:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(after_s, 1e-6))
        try:
            yield
        finally:
            inside.clear()
    except KeyboardInterrupt:
        pass
    finally:
        inside.clear()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_rel14_run(place: Home, engine: Engine) -> None:
    chance = dice("interrupt-run")
    began = time.monotonic()
    engine.containers.run(BASE, ["true"], network="none", remove=True)
    whole = time.monotonic() - began
    for _ in range(iterations(15)):
        after_s = chance.uniform(0, whole * 1.1)
        print(after_s)
        with interrupted(after_s):
            engine.containers.run(BASE, ["true"], network="none", remove=True, name="same")
        for container in engine.containers.list(all=True):
            container.remove(force=True, v=True)  # interrupted in the middle of taking it back: still there, whole
    assert engine.containers.run(BASE, ["echo", "on"], network="none", remove=True, name="same") == b"on\n"
    _clean(engine, place)


LIFE: Mapping[str, Callable[[Engine], object]] = {
    "create": lambda engine: engine.containers.create(BASE, ["sleep", "1000"], name="it", network="none", stop_timeout=0, volumes=["/d"]),
    "start": lambda engine: engine.containers.get("it").start(),
    "exec": lambda engine: engine.containers.get("it").exec_run("true"),
    "stop": lambda engine: engine.containers.get("it").stop(timeout=0),
    "rm": lambda engine: engine.containers.get("it").remove(force=True, v=True),
}


@pytest.mark.parametrize("verb", LIFE)
def test_rel14_interrupted_twice_in_any_verb(place: Home, engine: Engine, verb: str) -> None:
    """No half state, no lock kept: whatever came of it, another process removes it and the name is free."""
    chance = dice(f"interrupt-{verb}")
    before = list(LIFE)[: list(LIFE).index(verb)]
    for name in before:
        LIFE[name](engine)
    began = time.monotonic()
    LIFE[verb](engine)
    whole = time.monotonic() - began
    if verb != "rm":
        LIFE["rm"](engine)
    with place.open() as other:
        for _ in range(iterations(8)):
            for name in before:
                LIFE[name](engine)
            after_s = chance.uniform(0.0005, whole * 1.1)
            with interrupted(after_s, again_s=chance.uniform(0.0001, 0.01)):
                LIFE[verb](engine)
            began = time.monotonic()
            for container in other.containers.list(all=True):
                assert container.status in ("created", "running", "exited")
                container.remove(force=True, v=True)
            assert time.monotonic() - began < 5
        LIFE["create"](engine)
        LIFE["rm"](engine)
    for volume in engine.volumes.list():
        engine.volumes.remove(volume.name)
    _clean(engine, place)


def test_rel14_build(place: Home, engine: Engine) -> None:
    chance = dice("interrupt-build")
    for number in range(iterations(8)):
        after_s = chance.uniform(0, 0.3)
        print(after_s)
        with interrupted(after_s):
            engine.images.build(
                text=f"FROM {BASE}\nRUN echo {number} > /one\nWORKDIR /two\nRUN sleep 0.05; echo > /x", tag="t", network="none"
            )
    engine.images.build(text=f"FROM {BASE}\nRUN echo last > /one", tag="t", network="none")
    assert engine.containers.run("t", ["cat", "/one"], network="none", remove=True) == b"last\n"
    engine.images.remove("t")
    _clean(engine, place)


def test_rel14_a_container_hears_no_interrupt_of_the_notebook(engine: Engine) -> None:
    container = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, stop_timeout=0)
    assert not isinstance(container, bytes)
    with interrupted(0.2):
        container.wait(timeout=10)
    container.reload()
    assert container.status == "running"
    container.remove(force=True)


def _clean(engine: Engine, place: Home) -> None:
    engine.images.prune()
    engine._parts.store.disk.settle()
    # what an interrupt left in the staging place of a process that lives is freed after its end
    assert [str(finding) for finding in check(engine._parts.store) if finding.kind != "leftover"] == []
    assert {name for name in place.remains() if not name.startswith("root/tmp/")} == set()

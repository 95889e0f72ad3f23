"""REL-32: wherever an ``up`` or a ``down`` is killed, the next one finishes; whoever works at the same time, one of everything is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.compose.project import ComposeProject
from notebook_containers.errors import Error
from tests.compose.interrupted import Workers, workers
from tests.compose.projects import LONG_S, service, text
from tests.home import Home, findings

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(300)]

FILE = text(service("web", "exec sleep 1000", "volumes: ['data:/data', /own]"), below="volumes:\n  data:\n")
FEW = 40
"""More steps than anything here takes: a sweep that does not end is an error."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "shop"
    made.mkdir()
    (made / "compose.yaml").write_text(FILE)
    return made


@pytest.fixture
def project(engine: Engine, place: Path) -> ComposeProject:
    return engine.compose(place / "compose.yaml")


@pytest.fixture
def others(home: Home, engine: Engine, place: Path, tree_environment: dict[str, str]) -> Iterator[Workers]:
    engine.images.get("localhost/base")
    with workers(home, place, tree_environment) as made:
        yield made


def is_up(engine: Engine) -> None:
    """One container that runs, one network, its named volume and its own one."""
    assert [(one.name, one.status) for one in engine.containers.list(all=True)] == [("shop-web-1", "running")]
    assert [one.name for one in engine.networks.list() if one.name.startswith("shop")] == ["shop_default"]
    assert [one.name for one in engine.volumes.list() if one.name.startswith("shop")] == ["shop_data"]


def is_down(engine: Engine) -> None:
    assert engine.containers.list(all=True) == []
    assert [one.name for one in engine.networks.list() if one.name.startswith("shop")] == []
    assert [one.name for one in engine.volumes.list() if one.name.startswith("shop")] == []


def swept(kill: Callable[[int], bool], check: Callable[[], None]) -> None:
    """Kill at the first step, at the second, until there is none left to be killed at; check after each."""
    for step in count(1):
        assert step < FEW
        killed = kill(step)
        check()
        if not killed:
            assert step > 2
            return


def test_rel32_a_kill_at_every_step_of_up_and_of_down(engine: Engine, project: ComposeProject, others: Workers) -> None:
    def check() -> None:
        project.up()
        is_up(engine)
        others.killed("down", step=next(steps_of_down))
        project.down(volumes=True)
        is_down(engine)

    steps_of_down = count(1)
    swept(lambda step: others.killed("up", step=step), check)
    engine.prune(volumes=True)
    assert findings(engine) == []


def test_rel32_a_kill_at_every_step_of_a_recreate(engine: Engine, project: ComposeProject, others: Workers) -> None:
    project.up()
    project.container("web").exec_run(["sh", "-c", "echo kept > /data/file; echo kept > /own/file"])

    def check() -> None:
        project.up()
        is_up(engine)
        assert project.container("web").exec_run(["cat", "/data/file", "/own/file"]).output == b"kept\nkept\n"

    swept(lambda step: others.killed("recreate", step=step), check)
    swept(lambda event: others.killed("recreate", event=event), check)
    project.down(volumes=True)
    engine.prune(volumes=True)
    assert findings(engine) == []


@pytest.mark.parametrize("verb", ["up", "down"])
def test_rel32_somebody_else_works_while_an_up_stands_still(verb: str, engine: Engine, project: ComposeProject, others: Workers) -> None:
    """The other either does its work meanwhile, or waits for a lock that the first one has."""
    failed: list[Error] = []

    def other() -> None:
        try:
            if verb == "up":
                project.up()
            else:
                project.down(volumes=True)
        except Error as err:
            failed.append(err)

    for step in range(1, FEW, 5):
        if not others.stopped("up", step=step):
            assert step > 1
            break
        working = threading.Thread(target=other)
        working.start()
        working.join(0.2)
        code = others.go_on()
        working.join(LONG_S)
        assert not working.is_alive()
        if verb == "up":
            assert (code, failed) == (0, [])
            is_up(engine)
        failed.clear()
        project.up()
        is_up(engine)
        project.down(volumes=True)
        is_down(engine)

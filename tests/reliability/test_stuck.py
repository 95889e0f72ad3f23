"""REL-18: a process that the kernel does not let end: stop and rm say so in bounded time, nothing is forgotten, and later they succeed."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import StuckProcess
from notebook_containers.linux import process as processes
from tests.home import BASE, Home
from tests.reliability.test_ends import until
from tests.reliability.unanswered import unanswered

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

BOUND_S = 8  # of an idle machine it is 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "fs").mkdir()
    with unanswered(tmp_path / "fs") as served:
        yield served


def asking(engine: Engine, place: Path, script: str, pid_mode: str = "") -> Container:
    container = engine.containers.run(
        BASE,
        ["sh", "-c", script],
        volumes={str(place): {"bind": "/fs", "mode": "ro"}},
        network="none",
        detach=True,
        pid_mode=pid_mode,
        restart_policy={"Name": "always"},
    )
    assert isinstance(container, Container)
    return container


@pytest.mark.parametrize(
    ("script", "pid_mode"),
    [("exec stat /fs/never", ""), ("stat /fs/never & wait", ""), ("stat /fs/never & wait", "host")],
    ids=["the first process", "a child", "a child that outlives the first"],
)
def test_rel18_a_process_in_uninterruptible_sleep(
    place: Home, engine: Engine, server: subprocess.Popen[str], tmp_path: Path, script: str, pid_mode: str
) -> None:
    container = asking(engine, tmp_path / "fs", script, pid_mode)
    until(lambda: "T" in processes.states(server.pid), 20)  # it has the question, and gives no answer
    asker = next(pid for pid in container._parts.runtime.pids(container.id) if processes.name_of(pid) == "stat")
    if pid_mode:
        container.stop(timeout=1)  # the container is over; one process of it is not
        assert container.state.warnings[-1] == f"kill: process {asker} cannot be killed (yet)"
    else:
        began = time.monotonic()
        with pytest.raises(StuckProcess, match=rf"container {container.short_id} was killed .* {asker} \(stat\)") as caught:
            container.stop(timeout=1)
        assert time.monotonic() - began < 1 + BOUND_S
        assert "try again" in caught.value.hint
    assert processes.states(asker) == {"D"}
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(StuckProcess, match=rf"{asker} \(stat\)"):
            engine.containers.get(container.id).remove(force=True)
        assert time.monotonic() - began < BOUND_S
    with place.open() as other:
        assert [c.id for c in other.containers.list(all=True)] == [container.id]
    server.send_signal(signal.SIGCONT)
    until(lambda: not processes.states(asker))
    engine.containers.get(container.id).stop(timeout=0)
    assert engine.containers.get(container.id).status == "exited"
    engine.containers.get(container.id).remove()
    assert place.remains() == {}

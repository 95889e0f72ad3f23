"""Independent stages run at once; a failure or an interrupt ends them all; equal work is done once, also by two processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.build.progress import Event, StepFailed, StepOutput, StepStarted
from notebook_containers.errors import BuildError
from tests.home import BASE, Home

pytestmark = pytest.mark.root

LAST = "FROM scratch\nCOPY --from={} / /\nCOPY --from={} / /\n"
WAIT = "for i in $(seq 600); do [ -e /c/{} ] && exit 0; sleep 0.05; done; exit 1"


def meeting(own: str, other: str) -> str:
    return f"RUN --mount=type=cache,target=/c touch /c/{own}; {WAIT.format(other)}\n"


def test_independent_stages_run_at_once_and_events_stay_with_the_caller(own: Engine, tmp_path: Path) -> None:
    text = (
        f"FROM {BASE} AS one\n{meeting('a', 'b')}RUN echo 1 > /one\nFROM {BASE} AS two\n{meeting('b', 'a')}RUN echo 2 > /two\n"
        "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
    )
    threads: set[int] = set()
    result = own.images.build(tmp_path, text=text, tag="t", network="none", progress=lambda _event: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}
    assert [step.index for step in result.steps] == list(range(1, 10))
    assert [h.created_by for h in result.image.record.config.history] == ["COPY --from=one /one /", "COPY --from=two /two /"]
    again = own.images.build(tmp_path, text=text, tag="t", network="none")
    assert again.image.id == result.image.id
    assert {step.status for step in again.steps} == {"cached", "metadata"}


def test_a_stage_that_is_not_needed_never_runs(own: Engine, tmp_path: Path) -> None:
    text = f"FROM {BASE} AS never\nRUN exit 1\nFROM {BASE} AS wanted\nRUN echo yes > /x\nFROM never\n"
    result = own.images.build(tmp_path, text=text, target="wanted", tag="t", network="none")
    assert [step.instruction for step in result.steps] == [f"FROM {BASE} AS wanted", "RUN echo yes > /x"]


def test_a_failure_ends_the_others_and_is_the_error(own: Engine, tmp_path: Path) -> None:
    text = f"FROM {BASE} AS slow\nRUN sleep 300\nFROM {BASE} AS wrong\nRUN sleep 0.5; exit 7\n" + LAST.format("slow", "wrong")
    events: list[Event] = []
    began = time.monotonic()
    with pytest.raises(BuildError) as caught:
        own.images.build(tmp_path, text=text, tag="t", network="none", progress=events.append)
    assert caught.value.exit_status == 7
    assert time.monotonic() - began < 100
    assert [e.index for e in events if isinstance(e, StepFailed)] == [4]
    assert {e.index for e in events if isinstance(e, StepStarted)} >= {2, 4}
    assert list((own.root / "snapshots").iterdir()) == []


def test_an_interrupt_ends_them_all(own: Engine, tmp_path: Path) -> None:
    text = f"FROM {BASE} AS a\nRUN echo go; sleep 300\nFROM {BASE} AS b\nRUN sleep 300\n" + LAST.format("a", "b")

    def interrupt(event: Event) -> None:
        if isinstance(event, StepOutput):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own.images.build(tmp_path, text=text, tag="t", network="none", progress=interrupt)
    assert list((own.root / "snapshots").iterdir()) == []
    assert own.images.list("t") == []


def test_equal_work_in_one_build_is_done_once(own: Engine, tmp_path: Path) -> None:
    step = "RUN --mount=type=cache,target=/c echo x >> /c/log; sleep 0.5; wc -l < /c/log > /count\n"
    text = f"FROM {BASE} AS a\n{step}FROM {BASE} AS b\n{step}FROM scratch\nCOPY --from=a /count /a\nCOPY --from=b /count /b\n"
    result = own.images.build(tmp_path, text=text, tag="t", network="none")
    statuses = [s.status for s in result.steps if s.instruction.startswith("RUN")]
    assert sorted(statuses) == ["built", "cached"]


def test_two_processes_do_equal_work_once(own_home: Home, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {BASE}\nRUN --mount=type=cache,target=/c echo x >> /c/log; sleep 1; cat /c/log > /log\nRUN echo more > /more\n"
    )
    with own_home.open() as engine:
        engine.images.obtain(BASE)
    environment = {**os.environ, "NBC_ROOT": str(own_home.root), "NBC_RUN": str(own_home.run)}
    words = [sys.executable, "-m", "notebook_containers", "build", "-q", "--network", "none", str(tmp_path)]
    builds = [subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    ids = {build.communicate(timeout=100)[0] for build in builds}
    assert [build.returncode for build in builds] == [0, 0, 0]
    assert len(ids) == 1
    with own_home.open() as engine:
        assert engine.containers.run(ids.pop().strip(), ["cat", "/log"], network="none", remove=True) == b"x\n"


def test_a_killed_build_keeps_nobody_waiting(own_home: Home, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nRUN --mount=type=cache,target=/c [ -e /c/two ] || {{ touch /c/two; sleep 300; }}\n")
    with own_home.open() as engine:
        engine.images.obtain(BASE)
        environment = {**os.environ, "NBC_ROOT": str(own_home.root), "NBC_RUN": str(own_home.run)}
        words = [sys.executable, "-m", "notebook_containers", "build", "-q", "--network", "none", str(tmp_path)]
        first = subprocess.Popen(words, env=environment)
        while not any(cache.size for cache in engine.builder.caches()):
            assert first.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        second = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        first.kill()
        first.wait()
        assert second.wait(timeout=100) == 0

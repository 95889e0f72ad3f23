"""docker logs: times to the nanosecond, since and until, following over rotations by several, and ends that nobody announces."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import UTC, datetime

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.moments import unix
from notebook_containers.engine.telling import shown
from notebook_containers.errors import InvalidArgument
from notebook_containers.runtime.logs import LogLine
from tests.home import BASE


def detached(engine: Engine, script: str, **given: object) -> Container:
    container = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, stop_timeout=0, **given)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


@pytest.mark.root
def test_since_and_until_are_exact_to_the_line(engine: Engine) -> None:
    container = detached(engine, "for i in 1 2 3 4; do echo $i; sleep 0.02; done")
    container.wait(timeout=10)
    lines = container.logs(timestamps=True).decode().splitlines()
    stamps = [line.split()[0] for line in lines]
    assert [line.split()[1] for line in lines] == ["1", "2", "3", "4"]
    assert all(len(stamp) == len("2026-01-31T12:00:00.123456789Z") for stamp in stamps)
    assert container.logs(since=stamps[1]) == b"2\n3\n4\n"
    assert container.logs(until=stamps[1]) == b"1\n2\n"
    assert container.logs(since=stamps[1], until=stamps[2]) == b"2\n3\n"
    assert container.logs(since="1h", tail=1) == b"4\n"
    assert container.logs(since=time.time() + 10) == b""


@pytest.mark.root
def test_three_followers_get_each_line_once_over_rotations(engine: Engine) -> None:
    # 20000 lines are 1.3 MB of log in files of 200 kB each: followers are at most two files behind
    config = {"Type": "json-file", "Config": {"max-size": "200k", "max-file": "8"}}
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"
    container = engine.containers.create(BASE, ["sh", "-c", script], network="none", log_config=config)
    found: list[bytes] = [b"", b"", b""]

    def follow(place: int) -> None:
        found[place] = b"".join(container.logs(stream=True, follow=True))

    container.start()
    threads = [threading.Thread(target=follow, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    files = list((engine.root / "containers" / container.id).glob("container.log*"))
    assert len(files) > 2
    wanted = b"".join(b"line %d\n" % number for number in range(20000))
    assert [one == wanted for one in found] == [True, True, True]


@pytest.mark.root
def test_following_ends_with_the_container_also_when_its_monitor_is_killed(engine: Engine) -> None:
    for end in ("stop", "kill the monitor"):
        container = detached(engine, "echo begun; sleep 1000")
        lines = container.logs(stream=True, follow=True)
        assert next(lines) == b"begun\n"
        timer = threading.Timer(
            0.2, container.stop if end == "stop" else os.kill, () if end == "stop" else (container.state.monitor_pid, signal.SIGKILL)
        )
        timer.start()
        began = time.monotonic()
        assert list(lines) == []
        assert time.monotonic() - began < 3
        timer.join()


@pytest.mark.root
def test_following_stops_at_until_and_does_not_burn_time(engine: Engine) -> None:
    container = detached(engine, "echo one; sleep 1000")
    before, began = time.thread_time(), time.monotonic()
    assert list(container.logs(stream=True, follow=True, until=time.time() + 0.6)) == [b"one\n"]
    assert 0.4 < time.monotonic() - began < 3
    assert time.thread_time() - before < 0.05


def test_a_time_stands_before_lines_not_before_pieces() -> None:
    pieces = [
        LogLine(1.0, "stdout", b"ab", "T1"),
        LogLine(2.0, "stderr", b"err\n", "T2"),
        LogLine(3.0, "stdout", b"cd\n", "T3"),
        LogLine(4.0, "stdout", b"next\n", "T4"),
    ]
    assert [data for _stream, data in shown(iter(pieces), timestamps=True)] == [b"T1 ab", b"T2 err\n", b"cd\n", b"T4 next\n"]
    assert [data for _stream, data in shown(iter(pieces), details="")] == [b" ab", b" err\n", b"cd\n", b" next\n"]


def test_moments() -> None:
    assert unix(None) is None
    assert unix(12) == 12.0
    assert unix("12.5") == 12.5
    assert unix("1970-01-01T00:00:10Z") == 10.0
    assert unix("1970-01-01T01:00:10.000000001+01:00") == 10.000000001
    assert unix(datetime(1970, 1, 1, 0, 0, 1)) == 1.0  # noqa: DTZ001
    assert unix(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1.0
    now = time.time()
    for text, seconds in [("10m", 600), ("1h30m", 5400), ("1.5s", 1.5), ("300ms", 0.3), ("0s", 0)]:
        found = unix(text)
        assert found is not None
        assert abs(now - seconds - found) < 1
    for wrong in ("yesterday", "10", "10 m", ""):
        if wrong != "10":
            with pytest.raises(InvalidArgument):
                unix(wrong)

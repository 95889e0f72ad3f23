"""Doing once for all who wait, and never something older than the one who asks."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from notebook_containers.engine.turns import OnceForAll


def test_one_after_the_other_everybody_is_served_anew() -> None:
    done: list[int] = []
    once = OnceForAll()
    for number in range(3):
        once.run(lambda number=number: done.append(number))  # type: ignore[misc]
    assert done == [0, 1, 2]


def test_all_who_come_meanwhile_share_the_next() -> None:
    count, gate, once = [0], threading.Event(), OnceForAll()

    def act() -> None:
        count[0] += 1
        gate.wait(5)

    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(once.run, act)
        while not count[0]:
            time.sleep(0.001)
        others = [pool.submit(once.run, act) for _ in range(19)]
        time.sleep(0.1)
        assert not any(other.done() for other in others)  # what began before they came is not enough for them
        gate.set()
        for future in (first, *others):
            future.result(5)
    assert count[0] == 2


def test_an_error_is_the_one_callers_and_the_next_tries_itself() -> None:
    once, done = OnceForAll(), []

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        once.run(fail)
    once.run(lambda: done.append(1))
    assert done == [1]

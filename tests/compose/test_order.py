"""The scheduler: needs first, at once where nothing stands between, one failure, an interrupt."""

from __future__ import annotations

import threading
import time

import pytest

from notebook_containers.compose import order

DIAMOND = {"web": {"api", "cache"}, "api": {"db"}, "cache": {"db"}, "db": set[str]()}


def test_needs_come_first_and_what_is_independent_runs_at_once() -> None:
    done: list[str] = []
    together = threading.Barrier(2)

    def act(name: str, _cancelled: threading.Event) -> None:
        if name in ("api", "cache"):
            together.wait(30)  # breaks unless both are here
        done.append(name)

    order.run(DIAMOND, act)
    assert (done[0], done[-1], set(done)) == ("db", "web", set(DIAMOND))


def test_backwards_the_dependents_come_first() -> None:
    done: list[str] = []
    order.run(order.backwards(DIAMOND), lambda name, _cancelled: done.append(name))
    assert (done[0], done[-1]) == ("web", "db")


def test_one_at_once_is_one_after_the_other() -> None:
    running = []

    def act(name: str, _cancelled: threading.Event) -> None:
        running.append(name)
        assert len(running) == 1
        time.sleep(0.001)
        running.remove(name)

    order.run({str(i): set() for i in range(8)}, act, at_once=1)


def test_needs_outside_the_graph_are_fulfilled() -> None:
    done: list[str] = []
    order.run({"web": {"elsewhere"}}, lambda name, _cancelled: done.append(name))
    assert done == ["web"]
    order.run({}, lambda name, _cancelled: done.append(name))


def test_a_failure_begins_nothing_more_and_cancels_what_waits() -> None:
    begun: list[str] = []

    def act(name: str, cancelled: threading.Event) -> None:
        begun.append(name)
        if name == "waits":
            assert cancelled.wait(30)
            raise order.Cancelled
        raise ValueError(f"{name} fails")

    with pytest.raises(ValueError, match="db fails"):
        order.run({"waits": set(), "db": set(), "web": {"db"}}, act)
    assert sorted(begun) == ["db", "waits"]


def test_keep_going_leaves_only_what_needs_the_failed_one() -> None:
    done: list[str] = []

    def act(name: str, _cancelled: threading.Event) -> None:
        if name in ("db", "mail"):
            raise ValueError(f"{name} fails")
        done.append(name)

    with pytest.raises(ValueError, match="fails") as caught:
        order.run({"db": set(), "web": {"db"}, "mail": set(), "cache": set()}, act, keep_going=True)
    assert done == ["cache"]
    assert len(caught.value.__notes__) == 1


def test_an_interrupt_cancels_and_waits_for_what_runs() -> None:
    ended = []

    def act(name: str, cancelled: threading.Event) -> None:
        if name == "raises":
            raise KeyboardInterrupt
        assert cancelled.wait(30)
        ended.append(name)
        raise order.Cancelled

    with pytest.raises(KeyboardInterrupt):
        order.run({"waits": set(), "raises": set()}, act)
    assert ended == ["waits"]


def test_levels_and_closures() -> None:
    assert order.levels(DIAMOND) == {"db": 0, "api": 1, "cache": 1, "web": 2}
    assert order.with_needs(["api"], DIAMOND) == {"api", "db"}

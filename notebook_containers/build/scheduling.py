"""Stages in the order that their needs allow, several at once; events and interrupts stay with the caller's thread."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise

from notebook_containers.build.plan import StagePlan
from notebook_containers.build.progress import Event

_MOST = 4
_WAITING_EVENTS = 1000


class Cancelled(BaseException):
    """Work that is given up because another stage failed, or the caller was interrupted; never leaves the builder."""


class Relay:
    """Passes events on: those of other threads wait in a queue for the thread that made the relay (a notebook's output belongs to it)."""

    def __init__(self, target: Callable[[Event], None]) -> None:
        self._target, self._owner = target, threading.get_ident()
        self.waiting: queue.Queue[Event | Callable[[], None]] = queue.Queue(_WAITING_EVENTS)
        self.stop = threading.Event()

    def __call__(self, event: Event) -> None:
        """Take an event, from any thread; raises Cancelled in a worker whose work is given up."""
        if threading.get_ident() == self._owner:
            self._target(event)
            return
        self.check()
        self.waiting.put(event)

    def check(self) -> None:
        """Raise Cancelled in a worker when its work is given up."""
        if self.stop.is_set() and threading.get_ident() != self._owner:
            raise Cancelled

    def next(self, *, tell: bool) -> None:
        """Wait for what comes from the workers and handle it; events are dropped unless they are to be told."""
        item = self.waiting.get()
        if callable(item):
            item()
        elif tell:
            self._target(item)


def run(stages: Sequence[StagePlan], solve: Callable[[StagePlan], None], relay: Relay, cancel: Callable[[], None]) -> None:
    """Call ``solve`` for each stage once those it needs are solved, in the caller's thread unless several can be done at once.

    When one fails, or the caller is interrupted, ``cancel`` ends what the others run; the first error is raised once all have stopped.
    """
    if _is_chain(stages):
        for stage in stages:
            solve(stage)
        return
    _Pool(stages, solve, relay, cancel).run()


def _is_chain(stages: Sequence[StagePlan]) -> bool:
    """Say whether there is never a choice: each stage needs the one before it."""
    return all(before.index in stage.needs for before, stage in pairwise(stages))


class _Pool:
    def __init__(self, stages: Sequence[StagePlan], solve: Callable[[StagePlan], None], relay: Relay, cancel: Callable[[], None]) -> None:
        self._todo = list(stages)
        self._inside = {stage.index for stage in stages}
        self._solve, self._relay, self._cancel = solve, relay, cancel
        self._done: set[int] = set()
        self._running: dict[int, threading.Thread] = {}
        self._error: BaseException | None = None
        self._most = min(_MOST, max(2, os.cpu_count() or 1))

    def run(self) -> None:
        try:
            self._start_ready()
            while self._running:
                self._relay.next(tell=self._error is None)
        except BaseException as err:
            self._give_up(err)
        while self._running:
            self._relay.next(tell=False)
        if self._error is not None:
            raise self._error

    def _start_ready(self) -> None:
        ready = [s for s in self._todo if s.needs & self._inside <= self._done]
        for stage in ready[: self._most - len(self._running)] if self._error is None else ():
            self._todo.remove(stage)
            thread = threading.Thread(target=self._work, args=(stage,), name=f"nbc-stage-{stage.label}", daemon=True)
            self._running[stage.index] = thread
            thread.start()

    def _work(self, stage: StagePlan) -> None:
        error: BaseException | None = None
        try:
            self._solve(stage)
        except BaseException as err:
            error = err
        self._relay.waiting.put(lambda: self._ended(stage, error))

    def _ended(self, stage: StagePlan, error: BaseException | None) -> None:
        self._running.pop(stage.index).join()
        self._done.add(stage.index)
        if error is not None:
            self._give_up(error)
        self._start_ready()

    def _give_up(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
            self._relay.stop.set()
            self._cancel()

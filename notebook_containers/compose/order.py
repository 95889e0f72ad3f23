"""Work in the order of its needs, at once where nothing stands between: the one scheduler of all verbs.

What a piece of work needs is done before it begins; the first failure lets what runs come to its end and begins nothing more.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Collection, Iterable, Mapping

MOST_AT_ONCE = 16
"""Threads that work at the same time when nobody says how many."""


def backwards(needs: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """Return the same graph from its end: what needed something is now needed by it."""
    turned: dict[str, set[str]] = {name: set() for name in needs}
    for name, wanted in needs.items():
        for other in wanted:
            if other in turned:
                turned[other].add(name)
    return turned


def with_needs(names: Iterable[str], needs: Mapping[str, Collection[str]]) -> set[str]:
    """Return the names and all that they need, directly or not."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [other for other in needs.get(name, ()) if other in needs]
    return found


def levels(needs: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Return for each name how many steps of needs lie below it; 0 needs nothing. The graph has no cycle."""
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            found[name] = max((depth(other) + 1 for other in needs[name] if other in needs), default=0)
        return found[name]

    for name in needs:
        depth(name)
    return found


class Cancelled(Exception):
    """Work that waited was told that it is not wanted any more; :func:`run` raises what was the reason instead."""


def run(
    needs: Mapping[str, Collection[str]],
    act: Callable[[str, threading.Event], None],
    *,
    at_once: int = MOST_AT_ONCE,
    keep_going: bool = False,
) -> None:
    """Call ``act(name, cancelled)`` for every name, each in a thread, after what it needs has ended well.

    Names that are not in the graph are needs that are fulfilled. ``cancelled`` is set when it is all to end: after the first failure (not
    with ``keep_going``: then only what needs the failed one is left out) and after an interrupt of the caller. What was begun is always
    waited for. Raises the first error, with the others as notes.
    """
    _Run(needs, act, at_once=max(at_once, 1), keep_going=keep_going).until_end()


class _Run:
    """One walk through a graph, led by the caller's thread."""

    def __init__(
        self, needs: Mapping[str, Collection[str]], act: Callable[[str, threading.Event], None], *, at_once: int, keep_going: bool
    ) -> None:
        self._left = {name: {other for other in wanted if other in needs} for name, wanted in needs.items()}
        self._act, self._at_once, self._keep_going = act, at_once, keep_going
        self._cancelled = threading.Event()
        self._ended: queue.SimpleQueue[tuple[str, BaseException | None]] = queue.SimpleQueue()
        self._running: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def until_end(self) -> None:
        if not self._left:
            return
        try:
            self._begin()
            while self._running:
                self._take(*self._ended.get())
                self._begin()
        except BaseException:
            self._cancelled.set()
            raise
        finally:
            for thread in self._threads:
                thread.join()
        if self._failures:
            raise _first(self._failures)

    def _begin(self) -> None:
        for name in [name for name, wanted in self._left.items() if not wanted]:
            if len(self._running) >= self._at_once:
                return
            del self._left[name]
            self._running.add(name)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=contextvars.copy_context().run, args=(self._work, name), name=f"nbc-compose {name}")
            thread.start()
            self._threads.append(thread)

    def _work(self, name: str) -> None:
        try:
            self._act(name, self._cancelled)
        except BaseException as err:  # raised by until_end, in the caller's thread
            self._ended.put((name, err))
        else:
            self._ended.put((name, None))

    def _take(self, name: str, failure: BaseException | None) -> None:
        self._running.discard(name)
        if failure is None:
            for wanted in self._left.values():
                wanted.discard(name)
            return
        self._failures.append(failure)
        if not self._keep_going:
            self._cancelled.set()
            self._left.clear()


def _first(failures: list[BaseException]) -> BaseException:
    """Return the failure to raise: the first that is not the echo of another."""
    real = [err for err in failures if not isinstance(err, Cancelled)] or failures
    for other in real[1:]:
        real[0].add_note(f"and: {other}")
    return real[0]

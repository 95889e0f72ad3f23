"""Work in threads that an interrupt ends at once: whoever waits is never stuck in a look-up, a connection or a read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

_PATIENCE_S = 2.0


class _Task(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.done = threading.Event()
        self.result: T
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as err:  # raised again by whoever waits
            self.failure = err
        finally:
            self.done.set()


def attended(work: Callable[[], T], cut: Callable[[], None], *, name: str) -> T:
    """Run ``work`` in a thread and return what it returns; when this thread is interrupted, ``cut`` has to make it end.

    A thread that a system call holds for longer than two seconds is left to itself: it finds out that it was cut and does nothing more.
    """
    task = _Task(work)
    thread = threading.Thread(target=task.run, name=name, daemon=True)
    thread.start()
    try:
        task.done.wait()
    except BaseException:
        cut()
        thread.join(_PATIENCE_S)
        raise
    if task.failure is not None:
        raise task.failure
    return task.result


def side_by_side(tasks: Sequence[Callable[[], T]], *, most: int, cut: Callable[[], None], name: str) -> list[T]:
    """Run the tasks, at most ``most`` at once and begun in their order, and return their results in that order.

    The first failure makes ``cut`` end the others, and is raised when they have ended.
    """
    waiting = [_Task(task) for task in tasks]
    first: list[BaseException] = []
    lock = threading.Lock()
    rest = iter(waiting)

    def work() -> None:
        while not first:
            with lock:
                task = next(rest, None)
            if task is None:
                return
            task.run()
            if task.failure is not None:
                with lock:
                    first.append(task.failure)
                cut()

    threads = [threading.Thread(target=work, name=f"{name}-{n}", daemon=True) for n in range(min(most, len(waiting)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if first:
        raise first[0]
    return [task.result for task in waiting]

"""One display of the current cell that follows something at most eight times a second, and stays as it was last."""

from __future__ import annotations

import contextvars
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from notebook_containers.notebook.html import Markup

SHORTEST_INTERVAL_S = 0.125
TICK_S = 1.0


class Snapshot:
    """How something stood at one moment, for display in any front end."""

    def __init__(self, *, html: Markup, text: str) -> None:
        self._html, self._text = html, text

    def __repr__(self) -> str:
        return self._text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:  # noqa: ARG002
        """Show it; IPython calls this, and picks from the bundle itself."""
        return {"text/html": str(self._html), "text/plain": self._text}


class Ending(Protocol):
    """What a view follows: it can be told that it is over."""

    def end(self, error: BaseException | None) -> None:
        """Say that it is over, and whether by an error."""


State = TypeVar("State", bound=Ending)


class LiveView(ABC, Generic[State]):
    """A display of the current cell that follows a ``state``; use it as a context manager around what changes it.

    Whoever tells of events does so from any thread, in a ``with self.lock``, and calls :meth:`changed`. On leaving, the last update stays.
    """

    def __init__(self, state: State, *, name: str) -> None:
        self.state = state
        self.lock = threading.Lock()
        self._live = LiveDisplay(self.snapshot, name=name)

    def changed(self) -> None:
        """Say that there is something new to see; never draws, so it costs the teller nothing."""
        self._live.changed()

    @abstractmethod
    def draw(self) -> Snapshot:
        """Return how the state looks now; called with the lock held."""

    def snapshot(self) -> Snapshot:
        """Return how it stands now."""
        with self.lock:
            return self.draw()

    def __enter__(self) -> Self:
        self._live.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self.lock:
            self.state.end(error)
        self._live.end()


class LiveDisplay:
    """Shows what ``snapshot`` returns: when it begins, soon after each :meth:`changed`, every second, and when it ends.

    A thread of its own draws, so a silent second still counts, and a flood of changes costs no more than eight updates a second. A
    notebook on disk holds the last update only.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], *, name: str) -> None:
        self._snapshot, self._name = snapshot, name
        self._changed, self._over = threading.Event(), threading.Event()
        self._handle: object = None
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Make the display, in the output of the cell that runs now."""
        from IPython.display import display

        self._handle = display(self._snapshot(), display_id=True)  # type: ignore[no-untyped-call]
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._follow,), name=self._name, daemon=True)
        self._thread.start()

    def changed(self) -> None:
        """Say that there is something new to see; never draws itself."""
        self._changed.set()

    def end(self) -> None:
        """Draw for the last time."""
        self._over.set()
        self._changed.set()
        if self._thread is not None:
            self._thread.join()
        self._draw()

    def _follow(self) -> None:
        while not self._over.is_set():
            self._changed.wait(TICK_S)
            self._changed.clear()
            if not self._over.is_set():
                self._draw()
                self._over.wait(SHORTEST_INTERVAL_S)

    def _draw(self) -> None:
        update = getattr(self._handle, "update", None)
        if update is not None:
            update(self._snapshot())

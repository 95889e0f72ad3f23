"""``engine.events()``: what happens to containers, images, networks and volumes, whoever does it, in the shape of ``docker events``.

The events are in the journal of the run directory, where every engine and every monitor writes them; a stream reads on from there and is
woken by the kernel (inotify). A monitor that is killed cannot write that its container ended, so a stream watches the monitors too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TypeAlias, cast

from notebook_containers.engine import launch
from notebook_containers.engine.moments import Moment, unix
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import Error, InvalidArgument
from notebook_containers.linux.inotify import Watch
from notebook_containers.linux.process import open_pidfd
from notebook_containers.oci.documents import JSON
from notebook_containers.runtime.exhausted import limit_named
from notebook_containers.runtime.journal import Journal, JournalReader
from notebook_containers.runtime.state import LOST_TEXT

Event: TypeAlias = dict[str, JSON]
Filters: TypeAlias = "Mapping[str, str | bool | Sequence[str]]"

_BIRTHS = ("create", "start")


class EventStream:
    """Events as they happen; iterate, and :meth:`close` (from any thread) or leave the ``with`` to end it. One thread iterates."""

    def __init__(self, parts: Parts, *, since: Moment | None, until: Moment | None, filters: Filters | None) -> None:
        self._parts = parts
        self._fits = matcher(filters or {})
        self._since, self._until = unix(since), unix(until)
        self._closed = False
        self._monitors: dict[int, str] = {}
        self._seen: set[str] = set()
        self._events = self._read()
        with limit_named(), ExitStack() as undo:
            self._watch = Watch()
            undo.callback(self._watch.close)
            self._reader = JournalReader(Journal(os.fspath(parts.run)), from_start=self._since is not None or self._until is not None)
            undo.callback(self._reader.close)
            self._watch.add(self._reader.directory)
            for identity in parts.runtime.ids():
                self._watch_monitor(identity)
            undo.pop_all()

    def __iter__(self) -> Iterator[Event]:
        """Return itself."""
        return self

    def __next__(self) -> Event:
        """Return the next event; waits for it, to ``until`` or for ever."""
        return next(self._events)

    def _read(self) -> Generator[Event, None, None]:
        try:
            while not self._closed:
                late = self._until is not None and time.time() >= self._until
                yield from (event for event in self._new() if self._wanted(event))
                if late:
                    return
                self._wait()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._reader.close()
        self._watch.close()

    def _new(self) -> Iterator[Event]:
        for event in self._reader.read():
            if event.get("Type") == "container" and event.get("Action") in _BIRTHS:
                self._seen.discard(str(event.get("id")))
                self._watch_monitor(str(event.get("id")))
            yield cast("Event", event)

    def _wait(self) -> None:
        left = None if self._until is None else max(self._until - time.time(), 0.0)
        for fd in self._watch.wait(left):
            self._watch.forget(fd)
            identity = self._monitors.pop(fd)
            self._seen.discard(identity)
            state = launch.state(self._parts, identity)  # writes the end that a killed monitor could not write
            if state.pid and state.error == LOST_TEXT:  # its first process is only dying, or goes on without it
                self._watch_process(identity, state.pid, state.pid_started)

    def _watch_monitor(self, identity: str) -> None:
        if identity in self._seen or self._closed:
            return
        try:
            state = self._parts.runtime.state(identity)
        except Error:
            return
        self._watch_process(identity, state.monitor_pid, state.monitor_started)

    def _watch_process(self, identity: str, pid: int, started: int) -> None:
        try:
            fd = open_pidfd(pid, started)
        except OSError:
            return
        self._watch.also(fd)
        self._monitors[fd] = identity
        self._seen.add(identity)

    def _wanted(self, event: Event) -> bool:
        moment = cast("int", event["timeNano"]) / 1e9
        early = self._since is not None and moment < self._since
        late = self._until is not None and moment > self._until
        return not early and not late and self._fits(event)

    def close(self) -> None:
        """End the iteration, also one that waits in another thread. Idempotent."""
        if not self._closed:
            self._closed = True
            try:
                self._watch.wake()
            except OSError:
                return  # the iteration is over already

    def __enter__(self) -> EventStream:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it and let go of what it holds."""
        self.close()
        self._events.close()
        self._let_go()  # a generator that never began has nothing to end

    def __del__(self) -> None:
        """Let go of what a stream holds that nobody iterated or closed."""
        if hasattr(self, "_reader"):  # else it was not even made
            self._let_go()


def matcher(filters: Filters) -> Callable[[Event], bool]:
    """Return whether an event fits: one value of each key is enough, every key must fit. InvalidArgument for an unknown key."""
    for key in filters:
        if key not in _FILTERS:
            raise InvalidArgument(f"event filter {key!r} is not understood", hint="use " + ", ".join(_FILTERS))
    values = {
        key: [value] if isinstance(value, str) else [str(v) for v in value] for key, value in filters.items() if not isinstance(value, bool)
    }

    def fits(event: Event) -> bool:
        return all(any(_FILTERS[key](event, value) for value in wanted) for key, wanted in values.items())

    return fits


def _attributes(event: Event) -> Mapping[str, JSON]:
    actor = event.get("Actor")
    found = actor.get("Attributes") if isinstance(actor, dict) else None
    return found if isinstance(found, dict) else {}


def _identity(event: Event) -> str:
    actor = event.get("Actor")
    return str(actor.get("ID", "")) if isinstance(actor, dict) else ""


def _is(kind: str) -> Callable[[Event, str], bool]:
    def fits(event: Event, value: str) -> bool:
        if event.get("Type") != kind:
            return False
        return (
            _identity(event) == value or (len(value) >= 2 and _identity(event).startswith(value)) or _attributes(event).get("name") == value
        )

    return fits


def _container(event: Event, value: str) -> bool:
    other = str(_attributes(event).get("container", ""))
    return _is("container")(event, value) or (bool(value) and other.startswith(value))


def _image(event: Event, value: str) -> bool:
    name = str(_attributes(event).get("image" if event.get("Type") == "container" else "name", ""))
    bare = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    return value in (name, bare) or _is("image")(event, value)


def _action(event: Event, value: str) -> bool:
    action = str(event.get("Action", ""))
    return value in (action, action.partition(":")[0])


def _label(event: Event, value: str) -> bool:
    name, equals, wanted = value.partition("=")
    found = _attributes(event)
    return name in found and (not equals or found[name] == wanted)


_FILTERS: Mapping[str, Callable[[Event, str], bool]] = {
    "container": _container,
    "event": _action,
    "image": _image,
    "label": _label,
    "network": _is("network"),
    "scope": lambda event, value: event.get("scope") == value,
    "type": lambda event, value: event.get("Type") == value,
    "volume": _is("volume"),
}

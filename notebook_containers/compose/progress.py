"""What a project's verbs tell while they work, and the times that follow from it: one event for each thing that begins or has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from notebook_containers.lean import dataclass, field

Kind: TypeAlias = Literal["container", "network", "volume", "image", "service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One thing that begins or has ended; ``phase`` is Docker Compose's word (``creating``, ``started``, ``healthy``, ``removed``, …).

    ``service`` is empty for what belongs to the whole project. ``waiting`` and ``waited`` say ``on`` which service, for which
    ``condition``. ``text`` is the reason of a ``warning`` or ``error``. ``at`` is Unix time.
    """

    kind: Kind
    name: str
    phase: str
    service: str = ""
    on: str = ""
    condition: str = ""
    text: str = ""
    at: float = field(default_factory=time.time)

    def line(self) -> str:
        """Return it as a line for people, as docker compose writes it."""
        what = f"{self.kind.capitalize()} {self.name}"
        if self.phase in ("waiting", "waited"):
            return f"{what}  {self.phase.capitalize()} for {self.on} ({self.condition})"
        return f"{what}  {self.phase.capitalize()}" + (f": {self.text}" if self.text else "")


Tell: TypeAlias = Callable[[Told], None]
"""Takes events, from any thread, and costs the teller nothing."""


def silent(_event: Told) -> None:
    """Tell nobody."""


Doing: TypeAlias = Literal["building", "pulling", "waiting", "creating", "starting", "checking", "stopping", "removing"]

DOINGS: tuple[Doing, ...] = get_args(Doing)
_BEGINS: Mapping[str, Doing] = {
    "building": "building", "pulling": "pulling", "creating": "creating", "recreating": "creating", "starting": "starting",
    "restarting": "starting", "checking": "checking", "stopping": "stopping", "removing": "removing",
}  # fmt: skip
"""What begins with an event; any other event of the same thing ends what was begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that took time: seconds since the verb began; ``on`` is the service that a ``waiting`` waited for."""

    service: str
    name: str
    doing: Doing
    began: float
    ended: float
    on: str = ""
    condition: str = ""


_Thing: TypeAlias = tuple[Kind, str, str]


def spans(events: Sequence[Told]) -> tuple[Span, ...]:
    """Return what took time, in the order of its beginning; what never ended goes to the last event."""
    if not events:
        return ()
    zero, last = min(event.at for event in events), max(event.at for event in events)
    found: list[Span] = []
    begun: dict[_Thing, tuple[Told, Doing]] = {}

    def end(key: _Thing, at: float) -> None:
        if key in begun:
            event, doing = begun.pop(key)
            found.append(
                Span(
                    service=event.service, name=event.name, doing=doing, began=event.at - zero, ended=at - zero,
                    on=event.on, condition=event.condition,
                )
            )  # fmt: skip

    for event in sorted(events, key=lambda event: event.at):
        key: _Thing = (event.kind, event.name, event.on)
        end(key, event.at)
        if event.phase == "waiting":
            begun[key] = (event, "waiting")
        elif event.phase in _BEGINS:
            begun[key] = (event, _BEGINS[event.phase])
    for key in list(begun):
        end(key, last)
    return tuple(sorted(found, key=lambda span: (span.began, span.service, span.on)))


def by_service(found: Iterable[Span]) -> dict[str, list[Span]]:
    """Return the spans of each service, in the order in which the services began."""
    grouped: dict[str, list[Span]] = {}
    for span in found:
        if span.service:
            grouped.setdefault(span.service, []).append(span)
    return grouped

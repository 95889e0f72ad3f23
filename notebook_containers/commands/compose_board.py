"""How a project stands while something is done with it: a row for each service, from what is told and from what the engine sees."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from notebook_containers.commands import figures
from notebook_containers.lean import dataclass, field

if TYPE_CHECKING:
    from notebook_containers.compose.labels import Member
    from notebook_containers.compose.progress import Told

HEADINGS = ("SERVICE", "STATE", "HEALTH", "WAITING FOR", "PORTS")
_LOOK_S = 0.5
_DOING = frozenset({"building", "pulling", "pushing", "creating", "recreating", "starting", "restarting", "stopping", "removing"})
_OVER = frozenset({"removed", "error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """One service: what it is or does, its health, what it waits for and its published ports, all as words."""

    service: str
    state: str
    health: str = ""
    waiting_for: str = ""
    ports: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return the words in the order of the headings."""
        return self.service, self.state, self.health, self.waiting_for, self.ports


@dataclass(slots=True, kw_only=True)
class _Row:
    doing: str = ""
    text: str = ""
    waits: dict[str, str] = field(default_factory=dict)


class Board:
    """Takes what verbs tell (the caller has a lock), and looks at the containers twice a second while somebody draws."""

    def __init__(self, title: str, services: Iterable[str], look: Callable[[], Sequence[Member]]) -> None:
        self.title, self._look = title, look
        self._rows = {name: _Row() for name in services}
        self._members: Sequence[Member] = ()
        self._looked = 0.0
        self._began, self._ended = time.monotonic(), 0.0
        self.error = ""
        self.warnings: list[str] = []
        self.others: dict[tuple[str, str], str] = {}

    def take(self, event: Told) -> None:
        """Take an event."""
        if event.phase == "warning":
            self.warnings.append(f"{event.kind} {event.name}: {event.text}")
            return
        if not event.service:
            self.others[event.kind, event.name] = event.phase
            return
        row = self._rows.setdefault(event.service, _Row())
        if event.phase == "waiting":
            row.waits[event.on] = event.condition.removeprefix("service_").replace("_", " ")
        elif event.phase == "waited":
            row.waits.pop(event.on, None)
        else:
            row.doing, row.text = (event.phase, event.text) if event.phase in _DOING | _OVER else ("", "")

    def end(self, error: BaseException | None) -> None:
        """Say that it is over; the table is then of what the engine sees."""
        self._ended = time.monotonic()
        self.error = "" if error is None else str(error) or type(error).__name__
        for row in self._rows.values():
            row.waits.clear()
            row.doing = row.doing if row.doing in _OVER else ""
        self._looked = 0.0

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return bool(self._ended)

    def sentence(self) -> str:
        """Return how the whole stands in one line."""
        took = figures.seconds((self._ended or time.monotonic()) - self._began)
        if self.error:
            return f"{self.title} stopped after {took}: {self.error}"
        return f"{self.title}: {'done in' if self.over else ''} {took}".replace(":  ", ": ")

    def rows(self) -> list[BoardRow]:
        """Return a row for each service, in the order in which they were named."""
        now = time.monotonic()
        if not self._looked or (now - self._looked > _LOOK_S and not self.over):
            self._looked, self._members = now, self._look()
        by_service: dict[str, list[Member]] = {}
        for member in self._members:
            by_service.setdefault(member.service, []).append(member)
        return [_row(name, row, by_service.get(name, [])) for name, row in self._rows.items()]

    def lines(self, height: int = 1000) -> list[str]:
        """Return the table as text, a heading and a line for each service, at most ``height`` lines with the sentence."""
        rows = [HEADINGS, *(row.cells() for row in self.rows())]
        widths = [max(len(cells[i]) for cells in rows) for i in range(len(HEADINGS))]
        lines = ["   ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]
        room = max(height - 1, 1)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"… and {len(lines) - room + 1} more"]
        return [*lines, self.sentence()]


def _row(name: str, row: _Row, members: Sequence[Member]) -> BoardRow:
    waits = ", ".join(f"{on} ({condition})" if condition else on for on, condition in row.waits.items())
    states = [_state(member) for member in members]
    counted = [f"{states.count(state)} {state}" if len(states) > 1 else state for state in dict.fromkeys(states)]
    state = row.doing or ("waiting" if row.waits and not states else ", ".join(counted) or "-")
    healths = dict.fromkeys(m.container.health for m in members if m.container.status == "running" and m.container.health != "none")
    ports = [str(p) for m in members for p in m.container.ports]
    return BoardRow(service=name, state=state, health=", ".join(healths), waiting_for=waits, ports=", ".join(ports))


def _state(member: Member) -> str:
    container = member.container
    return f"exited ({container.exit_code})" if container.status == "exited" else container.status

"""When the last ``up`` of a project did what: kept beside its locks, so that a picture drawn later, or by another process, can show it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from notebook_containers.compose.digests import plain
from notebook_containers.compose.progress import DOINGS, Span, Tell, Told, spans
from notebook_containers.errors import InvalidDocument
from notebook_containers.oci.documents import JSON, untrusted_json

_FILE = "timeline.json"


class Recorder:
    """Keeps the events it is told and tells them on; safe from any thread."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._lock = tell, threading.Lock()
        self._events: list[Told] = []

    def __call__(self, event: Told) -> None:
        """Take an event."""
        with self._lock:
            self._events.append(event)
        self._tell(event)

    @property
    def events(self) -> Sequence[Told]:
        """What was told until now."""
        with self._lock:
            return tuple(self._events)


def save(place: Path, events: Sequence[Told]) -> None:
    """Keep what took time; an ``up`` that did nothing leaves what was kept before."""
    found = spans(events)
    if not found:
        return
    part = place / f".{_FILE}.{os.getpid()}"
    part.write_text(json.dumps({"spans": [plain(span) for span in found]}))
    part.rename(place / _FILE)


def load(place: Path) -> tuple[Span, ...]:
    """Return what was kept; empty when nothing was, or when it is not readable."""
    try:
        found = untrusted_json((place / _FILE).read_bytes(), what=_FILE).get("spans")
    except (OSError, InvalidDocument):
        return ()
    return tuple(span for item in (found if isinstance(found, list) else []) if (span := _span(item)) is not None)


def _span(item: JSON) -> Span | None:
    if not isinstance(item, dict):
        return None
    doing = next((known for known in DOINGS if known == item.get("doing")), None)
    began, ended = item.get("began", 0.0), item.get("ended", 0.0)
    if doing is None or not isinstance(began, (int, float)) or not isinstance(ended, (int, float)):
        return None
    words = {key: str(item.get(key, "")) for key in ("service", "name", "on", "condition")}
    return Span(doing=doing, began=float(began), ended=float(ended), **words)


def forget(place: Path) -> None:
    """Let go of what was kept."""
    with suppress(FileNotFoundError):
        (place / _FILE).unlink()

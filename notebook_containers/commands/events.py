"""``events`` and ``system recover``: what happens, and making things true again after a restart of the machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.face import face
from notebook_containers.commands.results import Result, Row, Table, Text
from notebook_containers.errors import Error, InvalidArgument

if TYPE_CHECKING:
    from notebook_containers.engine.events import Event, EventStream


def _events(*, filter: tuple[str, ...], since: str | None, until: str | None, format: str | None) -> Result:
    """Show what happens to containers, images, networks and volumes, as it happens."""
    here = face()
    notebook = not here.streams
    end = until if until is not None or not notebook else "0s"  # a cell shows what was; it does not wait for what comes
    begin = since if since is not None or not notebook else "1970-01-01T00:00:00Z"
    stream = here.engine.events(since=begin, until=end, filters=_filters(filter))
    if notebook and format is None:
        with stream:
            return Table(kind="events", rows=[row(event) for event in stream])
    with _until_interrupted(stream) as events:
        for event in events:
            here.write("stdout", f"{line(event, format)}\n".encode())
    return None


@contextmanager
def _until_interrupted(stream: EventStream) -> Iterator[EventStream]:
    """An interrupt is how people end this command, and no failure."""
    with stream:
        try:
            yield stream
        except KeyboardInterrupt:
            return


def _filters(words: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidArgument(f"filter {word!r} is not understood", hint="write KEY=VALUE, such as event=die")
        found.setdefault(key, []).append(value)
    return found


def row(event: Event) -> Row:
    """Return an event as a row of the table of events."""
    actor = event.get("Actor")
    parts = actor if isinstance(actor, dict) else {}
    attributes = parts.get("Attributes")
    known = attributes if isinstance(attributes, dict) else {}
    return {
        "time": float(str(event["timeNano"])) / 1e9,
        "type": str(event.get("Type")),
        "action": str(event.get("Action")),
        "id": str(parts.get("ID", "")),
        "name": str(known.get("name", "")),
        "attributes": known,
    }


def line(event: Event, template: str | None = None) -> str:
    """Return an event as docker prints it, or by a template."""
    if template in ("json", "{{json .}}"):
        return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    if template:
        return formatting.document_template(template, event)
    shown = row(event)
    attributes = shown["attributes"]
    words = ", ".join(f"{key}={value}" for key, value in sorted(attributes.items())) if isinstance(attributes, dict) else ""
    line = f"{_stamp(int(str(event['timeNano'])))} {shown['type']} {shown['action']} {shown['id']} ({words})"
    return "".join(ch if ch.isprintable() else " " for ch in line)


def _stamp(nanoseconds: int) -> str:
    import time

    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def _recover() -> Result:
    """Make the containers' states true after a restart of the machine, and start again what its restart policy asks for."""
    done = face().engine.recover()
    counts = (("lost", done.lost), ("removed", done.removed), ("started", done.started))
    lines = [f"{word}: {', '.join(identity[:12] for identity in ids) or 'none'}" for word, ids in counts]
    for text in done.failed:
        face().note(f"not started: {text}")
    if done.failed:
        raise Error(f"{len(done.failed)} containers could not be recovered", hint="see the warnings; nbc system recover may be repeated")
    return Text(text="\n".join(lines))


COMMANDS: Mapping[str, click.Command] = {
    "events": click.Command(
        "events",
        callback=_events,
        params=[
            click.Option(["-f", "--filter"], multiple=True, metavar="KEY=VALUE", help="Only those that match, as event=die."),
            click.Option(["--since"], help="Also what happened since then: 10m, 2026-01-31T12:00:00Z or a Unix time."),
            click.Option(["--until"], help="Stop then."),
            click.Option(["--format"], help="json, or a template such as '{{.Action}}'."),
        ],
        help=_events.__doc__,
    ),
    "recover": click.Command("recover", callback=_recover, params=[], help=_recover.__doc__),
}

"""Verbs on the build cache: ``builder du`` and ``builder prune``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.face import face
from notebook_containers.commands.looking import FORMAT
from notebook_containers.commands.removed import removed
from notebook_containers.commands.results import Result, Table, Text
from notebook_containers.commands.tree import Verbs
from notebook_containers.errors import InvalidArgument


def _filters(words: Sequence[str]) -> dict[str, str]:
    for word in words:
        if "=" not in word:
            raise InvalidArgument(f"filter {word!r} is not understood", hint="write KEY=VALUE, such as until=24h or type=exec.cachemount")
    return dict(word.partition("=")[::2] for word in words)


def _du(*, filter: tuple[str, ...], format: str | None) -> Result:
    """Show what the build cache holds: cached steps and cache mounts, and what pruning would free."""
    rows = [entry.row() for entry in face().engine.builder.entries(_filters(filter))]
    return Text(text=formatting.formatted("builder", rows, format)) if format else Table(kind="builder", rows=rows)


def _prune(*, all: bool, force: bool, filter: tuple[str, ...], keep_storage: str | None) -> Result:  # noqa: ARG001
    """Remove what the build cache holds and nothing uses; cache mounts only with --all or a filter."""
    from notebook_containers.engine.quantities import parse_bytes

    keep = parse_bytes(keep_storage, what="--keep-storage") if keep_storage else 0
    done = face().engine.builder.prune(all=all, filters=_filters(filter), keep_bytes=keep)
    deleted = done["CachesDeleted"]
    names = [str(id) for id in deleted] if isinstance(deleted, list) else []
    return removed({"cache": names}, [*names, ""] if names else [], int(str(done["SpaceReclaimed"])))


_FILTER = click.Option(
    ["--filter"], multiple=True, metavar="KEY=VALUE", help="Only what matches: id, type, until, unused-for, inuse, shared."
)

COMMANDS: Mapping[str, click.Command] = {
    "du": click.Command("du", callback=_du, params=[_FILTER, FORMAT], help=_du.__doc__),
    "prune": click.Command(
        "prune",
        callback=_prune,
        params=[
            click.Option(["-a", "--all"], is_flag=True, help="Also cache mounts, and steps whose layers an image has too."),
            click.Option(["-f", "--force"], is_flag=True, help="Do not ask (never asked here)."),
            _FILTER,
            click.Option(["--keep-storage", "--max-used-space"], metavar="SIZE", help="Stop when no more than this is left."),
        ],
        help=_prune.__doc__,
    ),
    "builder": Verbs("builder", {"build": "building", "du": "builder", "prune": "builder"}, help="Manage the build cache."),
}

"""Verbs on the store: system df, check, prune, reset."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.face import face
from notebook_containers.commands.looking import FORMAT
from notebook_containers.commands.removed import removed
from notebook_containers.commands.results import Removed, Result, Row, Table, Text
from notebook_containers.engine.filters import from_words
from notebook_containers.errors import Corrupt, InvalidArgument

if TYPE_CHECKING:
    from notebook_containers.engine.reclaim import Reclaimed


def _df(*, verbose: bool, format: str | None) -> Result:
    """Show where every byte of the store is (images, containers, volumes, build cache, logs, garbage), and what could be had back.

    The sizes are those on the disk, blobs included; together they are what du says of the store's directory.
    """
    rows: list[Row] = [*face().engine.df(verbose=verbose)]
    return Text(text=formatting.formatted("df", rows, format)) if format else Table(kind="df", rows=rows)


def _check(*, quick: bool, repair: bool, force: bool, format: str | None) -> Result:
    """Check every blob, layer, row, volume and container. Ends with 0 when nothing is damaged, else with 1.

    Garbage (what died operations left) is listed too; it is no damage, and prune frees it.
    """
    if force and not repair:
        raise InvalidArgument("--force only says how far a repair may go", hint="use --repair --force")
    rows: list[Row]
    try:
        found = face().engine.check(quick=quick, repair=repair, force=force)
        rows, clean = [*found.rows()], found.clean
    except Corrupt as err:  # not even open: the database itself
        rows, clean = [{"state": "damage", "kind": "database", "subject": "nbc.db", "detail": err.one_line()}], False
    if format:
        return Text(text=formatting.formatted("check", rows, format), status=0 if clean else 1)
    return Table(kind="check", rows=rows, status=0 if clean else 1, empty="clean")


def _prune(*, all: bool, force: bool, volumes: bool, filter: tuple[str, ...]) -> Result:  # noqa: ARG001
    """Remove containers that do not run, images without a name (all unused ones with --all), unused networks and layers nobody needs."""
    return _told(face().engine.prune(all=all, volumes=volumes, filters=from_words(filter)))


def _reset(*, force: bool, volumes: bool) -> Result:
    """Remove all containers, running or not, all images, networks and the build cache; with --volumes all volumes too."""
    from notebook_containers.engine.parts import default_root, default_run
    from notebook_containers.engine.reclaim import reset_all

    what = "all containers (running ones too), images and networks" + (" and ALL VOLUMES with their files" if volumes else "")
    if not force:
        if face().cell is not None or not sys.stdin.isatty():
            raise InvalidArgument(f"system reset removes {what}", hint="confirm it with --force")
        click.confirm(f"This removes {what}. Go on?", abort=True)
    return _told(reset_all(default_root(), default_run(), volumes=volumes))


def _told(done: Reclaimed) -> Removed:
    for text in done.warnings:
        face().note(text)
    groups = (("Containers", done.containers), ("Images", done.images), ("Volumes", done.volumes), ("Networks", done.networks))
    lines = [line for title, names in groups if names for line in (f"Deleted {title}:", *names, "")]
    return removed({title.lower().removesuffix("s"): names for title, names in groups}, lines, done.bytes)


def _command(name: str, callback: object, *params: click.Parameter) -> click.Command:
    assert callable(callback)
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


COMMANDS: Mapping[str, click.Command] = {
    "df": _command("df", _df, click.Option(["-v", "--verbose"], is_flag=True, help="One line for each thing."), FORMAT),
    "check": _command(
        "check",
        _check,
        click.Option(["--quick"], is_flag=True, help="Read no file's bytes: records, names and sizes only."),
        click.Option(["--repair"], is_flag=True, help="Unpack, pack or fetch again what can be had again; free the garbage."),
        click.Option(["--force"], is_flag=True, help="With --repair: remove images and containers that cannot be made whole."),
        FORMAT,
    ),
    "prune": _command(
        "prune",
        _prune,
        click.Option(["-a", "--all"], is_flag=True, help="All images that no container uses, and the whole build cache."),
        click.Option(["-f", "--force"], is_flag=True, help="Do not ask (never asked here)."),
        click.Option(["--volumes"], is_flag=True, help="Also anonymous volumes that no container has."),
        click.Option(["--filter"], multiple=True, metavar="KEY=VALUE", help="Only those that match: until=24h, label=…, label!=…"),
    ),
    "reset": _command(
        "reset",
        _reset,
        click.Option(["-f", "--force"], is_flag=True, help="Do not ask."),
        click.Option(["--volumes"], is_flag=True, help="Also all volumes, with the files in them."),
    ),
}

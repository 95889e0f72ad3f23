"""Verbs on volumes: ls, create, rm, inspect."""

from __future__ import annotations

from collections.abc import Mapping

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.face import face
from notebook_containers.commands.looking import FORMAT
from notebook_containers.commands.results import Documents, Names, Result, Row, Table, Text
from notebook_containers.commands.tree import Verbs
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.engine.words import label_map
from notebook_containers.errors import Error
from notebook_containers.oci.documents import JSON


def _ls(*, quiet: bool, format: str | None) -> Result:
    """List volumes."""
    rows: list[Row] = [
        {"driver": "local", "name": v.name, "mountpoint": str(v.path), "created": v.created} for v in face().engine.volumes.list()
    ]
    if quiet:
        return Text(text="\n".join(str(row["name"]) for row in rows))
    return Text(text=formatting.formatted("volumes", rows, format)) if format else Table(kind="volumes", rows=rows)


def _create(name: str | None, *, label: tuple[str, ...]) -> Result:
    """Make a volume."""
    return Names(names=[face().engine.volumes.create(name, labels=label_map(label)).name])


def _rm(volumes: tuple[str, ...], *, force: bool) -> Result:  # noqa: ARG001
    """Remove one or more volumes and the bytes in them."""
    done, failures = [], []
    for name in volumes:
        try:
            face().engine.volumes.remove(name)
        except Error as err:
            failures.append(err)
        else:
            done.append(name)
    return Names(names=done, failures=failures)


def _inspect(volumes: tuple[str, ...]) -> Result:
    """Show everything known of volumes."""
    found = [face().engine.volumes.get(name) for name in volumes]
    documents: list[Mapping[str, JSON]] = [
        {
            "Name": v.name,
            "Driver": "local",
            "Mountpoint": str(v.path),
            "CreatedAt": rfc3339(v.created),
            "Labels": dict(v.labels),
            "Scope": "local",
        }
        for v in found
    ]
    return Documents(documents=documents)


_VOLUMES = click.Argument(["volumes"], nargs=-1, required=True)

COMMANDS: Mapping[str, click.Command] = {
    "volume": Verbs("volume", {"ls": "volumes", "create": "volumes", "rm": "volumes", "inspect": "volumes"}, help="Manage volumes."),
    "ls": click.Command(
        "ls", callback=_ls, params=[click.Option(["-q", "--quiet"], is_flag=True, help="Only the names."), FORMAT], help=_ls.__doc__
    ),
    "create": click.Command(
        "create",
        callback=_create,
        params=[click.Option(["--label"], multiple=True, help="Set a label."), click.Argument(["name"], required=False)],
        help=_create.__doc__,
    ),
    "rm": click.Command(
        "rm",
        callback=_rm,
        params=[click.Option(["-f", "--force"], is_flag=True, help="Accepted for Docker's sake."), _VOLUMES],
        help=_rm.__doc__,
    ),
    "inspect": click.Command("inspect", callback=_inspect, params=[_VOLUMES], help=_inspect.__doc__),
}

"""Verbs on networks: ls, create, rm."""

from __future__ import annotations

from collections.abc import Mapping

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.face import face
from notebook_containers.commands.looking import FORMAT
from notebook_containers.commands.results import Names, Result, Row, Table, Text
from notebook_containers.commands.tree import Verbs
from notebook_containers.errors import Error


def _ls(*, quiet: bool, format: str | None) -> Result:
    """List networks."""
    rows: list[Row] = [
        {"network_id": n.short_id, "name": n.name, "driver": n.driver, "subnet": n.subnet, "gateway": n.gateway}
        for n in face().engine.networks.list()
    ]
    if quiet:
        return Text(text="\n".join(str(row["network_id"]) for row in rows))
    return Text(text=formatting.formatted("networks", rows, format)) if format else Table(kind="networks", rows=rows)


def _create(name: str, *, internal: bool) -> Result:
    """Make a bridge network."""
    return Names(names=[face().engine.networks.create(name, internal=internal).id])


def _rm(networks: tuple[str, ...]) -> Result:
    """Remove one or more networks."""
    done, failures = [], []
    for name in networks:
        try:
            face().engine.networks.remove(name)
        except Error as err:
            failures.append(err)
        else:
            done.append(name)
    return Names(names=done, failures=failures)


COMMANDS: Mapping[str, click.Command] = {
    "network": Verbs("network", {"ls": "networks", "create": "networks", "rm": "networks"}, help="Manage networks."),
    "ls": click.Command(
        "ls", callback=_ls, params=[click.Option(["-q", "--quiet"], is_flag=True, help="Only the ids."), FORMAT], help=_ls.__doc__
    ),
    "create": click.Command(
        "create",
        callback=_create,
        params=[click.Option(["--internal"], is_flag=True, help="No way out."), click.Argument(["name"])],
        help=_create.__doc__,
    ),
    "rm": click.Command("rm", callback=_rm, params=[click.Argument(["networks"], nargs=-1, required=True)], help=_rm.__doc__),
}

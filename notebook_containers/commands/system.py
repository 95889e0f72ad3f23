"""Verbs on the whole: info, version, doctor."""

from __future__ import annotations

from collections.abc import Mapping

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.face import face
from notebook_containers.commands.results import Documents, Result, Table, Text
from notebook_containers.commands.tree import Verbs
from notebook_containers.oci.documents import JSON


def _info(*, format: str | None) -> Result:
    """Show what this engine has, and what is active or weaker on this machine, and why."""
    return _shown(face().engine.info(), format, "info")


def _version(*, format: str | None) -> Result:
    """Show versions."""
    return _shown(face().engine.version(), format, "version")


def _shown(document: Mapping[str, JSON], template: str | None, kind: str) -> Result:
    if template:
        return Text(text=formatting.document_template(template, document))
    return Documents(documents=[document], kind=kind)


def _doctor(*, format: str | None, quiet: bool) -> Result:
    """Try every kernel feature that containers use: is it there, how that is known, what is lost, and what an administrator can do."""
    from notebook_containers.engine import doctor

    checks = doctor.examine()
    if any(check.available != "yes" for check in checks):
        face().note(doctor.summary(checks))
    rows = [check.row() for check in checks if not quiet or check.available != "yes"]
    return Text(text=formatting.formatted("doctor", rows, format)) if format else Table(kind="doctor", rows=rows)


_FORMAT = click.Option(["-f", "--format"], help="json, or a template such as '{{.KernelVersion}}'.")

COMMANDS: Mapping[str, click.Command] = {
    "info": click.Command("info", callback=_info, params=[_FORMAT], help=_info.__doc__),
    "version": click.Command("version", callback=_version, params=[_FORMAT], help=_version.__doc__),
    "doctor": click.Command(
        "doctor",
        callback=_doctor,
        params=[
            click.Option(["--format"], help="json, table, or a template such as '{{.Feature}}: {{.Todo}}'."),
            click.Option(["-q", "--quiet"], is_flag=True, help="Only what is missing or weaker."),
        ],
        help=_doctor.__doc__,
    ),
    "system": Verbs(
        "system",
        {
            "check": "storage",
            "df": "storage",
            "doctor": "system",
            "events": "events",
            "info": "system",
            "prune": "storage",
            "recover": "events",
            "reset": "storage",
        },
        help="Look at and clean up the whole.",
    ),
}

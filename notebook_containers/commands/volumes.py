"""Verbs on volumes: ls, create, rm, inspect, prune, and their files as archives: export, import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import click

from notebook_containers.commands import files, formatting
from notebook_containers.commands.face import face
from notebook_containers.commands.figures import docker_size
from notebook_containers.commands.looking import FORMAT
from notebook_containers.commands.results import Documents, Names, Result, Row, Table, Text
from notebook_containers.commands.tree import Verbs
from notebook_containers.engine.filters import from_words
from notebook_containers.engine.words import label_map
from notebook_containers.errors import Error, InvalidArgument
from notebook_containers.oci.documents import JSON


def _ls(*, quiet: bool, filter: tuple[str, ...], format: str | None) -> Result:
    """List volumes, with the bytes that their files take on the disk."""
    found = face().engine.volumes.list(from_words(filter))
    if quiet:
        return Text(text="\n".join(volume.name for volume in found))
    users = face().engine.volumes.users()
    sized = not format or any(word in format for word in ("Size", "json", "table"))
    rows: list[Row] = [
        {
            "driver": volume.driver,
            "name": volume.name,
            "mountpoint": str(volume.mountpoint),
            "created": volume.created,
            "size": volume.size() if sized else 0,
            "containers": list(users.get(volume.name, ())),
            "labels": dict(volume.labels),
        }
        for volume in found
    ]
    return Text(text=formatting.formatted("volumes", rows, format)) if format else Table(kind="volumes", rows=rows)


def _create(name: str | None, *, given: str | None, driver: str, label: tuple[str, ...], opt: tuple[str, ...]) -> Result:
    """Make a volume; -o has the words of Docker's local driver: type, device and o."""
    if name and given:
        raise InvalidArgument("a volume has one name", hint="leave out --name, which is deprecated")
    options: dict[str, str] = {}
    for word in opt:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidArgument(f"volume option {word!r} has no value", hint="write -o type=tmpfs -o device=tmpfs -o o=size=64m")
        options[key] = value
    try:
        volume = face().engine.volumes.create(name or given, driver=driver, driver_opts=options, labels=label_map(label))
    except Error as err:
        return Names(names=[], failures=[err])
    for text in volume.notes():
        face().note(text)
    return Names(names=[volume.name])


def _rm(volumes: tuple[str, ...], *, force: bool) -> Result:
    """Remove one or more volumes and the bytes in them; what a volume is bound to elsewhere stays."""
    done: list[str] = []
    failures: list[Exception] = []
    for name in volumes:
        try:
            face().engine.volumes.remove(name, force=force)
        except Error as err:
            failures.append(err)
        else:
            done.append(name)
    return Names(names=done, failures=failures)


def _inspect(volumes: tuple[str, ...], *, format: str | None) -> Result:
    """Show everything known of volumes."""
    documents: list[Mapping[str, JSON]] = []
    failures: list[Exception] = []
    for name in volumes:
        try:
            documents.append(face().engine.volumes.get(name).attrs)
        except Error as err:
            failures.append(err)
    if format:
        return Names(names=[formatting.document_template(format, document) for document in documents], failures=failures)
    return Documents(documents=documents, failures=failures)


def _prune(*, all: bool, force: bool, filter: tuple[str, ...]) -> Result:
    """Remove anonymous volumes that no container has; with --all those that have a name too, after a question or with --force."""
    if all and not force:
        what = "every volume that no container has, named ones too, with the files in them"
        if face().cell is not None or not sys.stdin.isatty():
            raise InvalidArgument(f"volume prune --all removes {what}", hint="confirm it with --force")
        click.confirm(f"This removes {what}. Go on?", abort=True)
    result = face().engine.volumes.prune({**from_words(filter), **({"all": True} if all else {})})
    deleted = result["VolumesDeleted"]
    lines = ["Deleted Volumes:", *deleted, ""] if isinstance(deleted, list) and deleted else []
    return Text(text="\n".join([*lines, f"Total reclaimed space: {docker_size(int(str(result['SpaceReclaimed'])))}"]))


def _export(volume: str, *, output: str | None) -> Result:
    """Write a volume's files as a tar archive: a backup, taken while containers go on."""
    here = face()
    found = here.engine.volumes.get(volume)
    files.write_stream(here, output, found.export)
    return None


def _import(volume: str, source: str) -> Result:
    """Unpack a tar archive (a file, or - for standard input) in a volume, which is made when there is none of the name.

    Files of the same name are replaced, others stay; nothing outside the volume is touched, whatever the archive says.
    """
    here = face()
    with files.opened(here, source) as stream:
        found = here.engine.volumes.create(volume)
        for text in found.import_archive(stream):
            here.note(text)
    return Names(names=[found.name])


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


_VOLUMES = click.Argument(["volumes"], nargs=-1, required=True)
_FILTER = ["-f", "--filter"]

COMMANDS: Mapping[str, click.Command] = {
    "volume": Verbs(
        "volume",
        {**dict.fromkeys(("ls", "create", "rm", "inspect", "prune", "export", "import"), "volumes"), "list": "volumes:ls"},
        help="Manage volumes.",
    ),
    "ls": _command(
        "ls",
        _ls,
        click.Option(["-q", "--quiet"], is_flag=True, help="Only the names."),
        click.Option(_FILTER, multiple=True, metavar="KEY=VALUE", help="Only those that match: dangling=true, driver=, label=, name="),
        FORMAT,
    ),
    "create": _command(
        "create",
        _create,
        click.Option(["-d", "--driver"], default="local", show_default=True, help="The driver; there is local."),
        click.Option(["--label"], multiple=True, metavar="NAME=VALUE", help="Set a label."),
        click.Option(["given", "--name"], hidden=True, help="Deprecated: the name stands alone."),
        click.Option(["-o", "--opt"], multiple=True, metavar="KEY=VALUE", help="An option of the driver: type=, device=, o="),
        click.Argument(["name"], required=False),
    ),
    "rm": _command("rm", _rm, click.Option(["-f", "--force"], is_flag=True, help="No error for one that there is not."), _VOLUMES),
    "inspect": _command(
        "inspect", _inspect, click.Option(["-f", "--format"], help="json, or a template such as '{{.Mountpoint}}'."), _VOLUMES
    ),
    "prune": _command(
        "prune",
        _prune,
        click.Option(["-a", "--all"], is_flag=True, help="Also those that have a name."),
        click.Option(["-f", "--force"], is_flag=True, help="Do not ask."),
        click.Option(["--filter"], multiple=True, metavar="KEY=VALUE", help="Only those that match: label=…, label!=…"),
    ),
    "export": _command(
        "export", _export, click.Option(["-o", "--output"], metavar="FILE", help="Write to this file."), click.Argument(["volume"])
    ),
    "import": _command("import", _import, click.Argument(["volume"]), click.Argument(["source"], required=False, default="-")),
}

"""``compose`` verbs that look: ps, logs, images, top, port, events, stats, volumes, ls, version, graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from notebook_containers import __version__
from notebook_containers.commands import formatting
from notebook_containers.commands.compose import SERVICES, opened
from notebook_containers.commands.face import Face, face
from notebook_containers.commands.looking import FORMAT, NO_TRUNC, QUIET, container_row
from notebook_containers.commands.results import Graphed, Names, Result, Row, Table, Text
from notebook_containers.errors import InvalidArgument, NotFound
from notebook_containers.oci.reference import Reference

if TYPE_CHECKING:
    from notebook_containers.compose.labels import Member
    from notebook_containers.compose.logs import Said

_PALETTE = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_LIVE = ("running", "paused", "restarting")


class LineWriter:
    """Writes lines of several containers, each behind its container's name in a colour that is its service's."""

    def __init__(self, here: Face, *, prefix: bool = True, colours: bool = True, timestamps: bool = False, ends: bool = False) -> None:
        self._here, self._prefix, self._timestamps, self._ends = here, prefix, timestamps, ends
        self._colours = colours and here.colours
        self._services: list[str] = []
        self._width = 0

    def __call__(self, said: Said) -> None:
        """Write one line, or that a container has ended, where that is wanted."""
        from notebook_containers.compose.logs import numbered

        name = numbered(said.member)
        if said.line is None:
            if self._ends:
                code = said.member.container.exit_code
                self._here.write("stdout", f"{name} exited with code {code}\n".encode())
            return
        self._width = max(self._width, len(name))
        lead = self._painted(said.member.service, f"{name:<{self._width}}  | ") if self._prefix else ""
        stamp = f"{said.line.stamp} " if self._timestamps else ""
        reset = b"\x1b[0m\n" if self._colours and b"\x1b" in said.line.data else b"\n"
        self._here.write("stdout", f"{lead}{stamp}".encode() + said.line.data.removesuffix(b"\n") + reset)

    def _painted(self, service: str, text: str) -> str:
        if service not in self._services:
            self._services.append(service)
        colour = _PALETTE[self._services.index(service) % len(_PALETTE)]
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text


def _logs(services: tuple[str, ...], *, follow: bool, tail: str, no_color: bool, no_log_prefix: bool, timestamps: bool, since: str | None, until: str | None, index: int) -> Result:  # fmt: skip # noqa: E501
    """Show the output of the project's containers, coloured by service."""
    if tail != "all" and not tail.isdecimal():
        raise InvalidArgument(f"--tail {tail!r} is no number", hint="write a number of lines, or all")
    here, project = face(), opened()
    writer = LineWriter(here, prefix=not no_log_prefix, colours=not no_color, timestamps=timestamps, ends=follow)
    lines = project.logs(services, follow=follow, tail=tail, since=since, until=until, index=index)
    try:
        for said in lines:
            writer(said)
    except KeyboardInterrupt:
        if not follow:
            raise  # an interrupt is how people end -f, and no failure
    finally:
        close = getattr(lines, "close", None)
        if close is not None:
            close()
    return None


_STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")


def _filtered(words: Sequence[str], key: str, values: Sequence[str] = ()) -> list[str]:
    """Return the values of ``--filter KEY=VALUE`` words; InvalidArgument for another key, and a value that is none of these."""
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name != key:
            raise InvalidArgument(f"--filter {word!r} is not understood", hint=f"write {key}=VALUE")
        if values and value not in values:
            raise InvalidArgument(f"--filter {word!r}: {value!r} is no {key}", hint=f"there are: {', '.join(values)}")
        found.append(value)
    return found


def _row(member: Member, *, full: bool) -> Row:
    return {"service": member.service, **container_row(member.container, size=False, full=full)}


def _ps(services: tuple[str, ...], *, all: bool, quiet: bool, services_only: bool, filter: tuple[str, ...], status: tuple[str, ...], format: str | None, no_trunc: bool, orphans: bool) -> Result:  # fmt: skip # noqa: E501
    """List the project's containers."""
    project = opened()
    wanted = {*status, *_filtered(filter, "status", _STATUSES)}
    members = [
        one
        for one in project.members(services, one_off=all)
        if (one.container.status in wanted if wanted else all or one.container.status in _LIVE)
    ]
    if not orphans:
        known = {service.name for service in (*project.project.services, *project.project.disabled)}
        members = [one for one in members if one.service in known]
    if services_only:
        return Names(names=list(dict.fromkeys(one.service for one in members)))
    if quiet:
        return Text(text="\n".join(one.container.id for one in members))
    rows = [_row(one, full=no_trunc) for one in members]
    if format:
        return Text(text=formatting.formatted("compose ps", rows, format, whole=no_trunc))
    return Table(kind="compose ps", rows=rows, whole=no_trunc)


def _images(services: tuple[str, ...], *, quiet: bool, format: str | None) -> Result:
    """List the images that the containers were made from."""
    engine, rows, ids = face().engine, list[Row](), list[str]()
    for one in opened().members(services):
        image = engine.images.find(one.container.document.image_id)
        reference = Reference.parse(one.container.image)
        ids.append(image.id)
        rows.append(
            {
                "container": one.name, "repository": reference.familiar_name(), "tag": reference.tag or "latest",
                "image_id": image.short_id, "size": image.size, "created": image.created,
            }
        )  # fmt: skip
    if quiet:
        return Names(names=list(dict.fromkeys(ids)))
    return Text(text=formatting.formatted("compose images", rows, format)) if format else Table(kind="compose images", rows=rows)


def _top(services: tuple[str, ...]) -> Result:
    """Show the processes of the running containers."""
    rows: list[Row] = []
    for one in opened().members(services):
        if one.container.status in ("running", "paused"):
            rows += [
                {
                    "service": one.service,
                    "#": one.number,
                    "PID": p.pid,
                    "PPID": p.ppid,
                    "UID": p.uid,
                    "SECONDS": int(p.elapsed),
                    "CMD": p.args,
                }
                for p in one.container.processes()
            ]
    return Table(kind="compose top", rows=rows)


def _port(service: str, private_port: str, *, protocol: str, index: int) -> Result:
    """Show where a service's port is published."""
    wanted, _, given = private_port.partition("/")
    kind = given or protocol
    container = opened().container(service, index)
    hosts = [f"{p.host}:{p.host_port}" for p in container.ports if str(p.container_port) == wanted and p.protocol == kind]
    if not hosts:
        raise NotFound(f"no port {wanted}/{kind} is published for {service}", hint="see nbc compose ps")
    return Names(names=hosts)


def _events(services: tuple[str, ...], *, as_json: bool, since: str | None, until: str | None) -> Result:
    """Show what happens to the project's containers, as it happens; a cell shows what was."""
    from notebook_containers.commands.events import line, row

    here, project = face(), opened()
    notebook = not here.streams
    begin = since or ("1970-01-01T00:00:00Z" if notebook else None)
    stream = project.events(services, since=begin, until=until or ("0s" if notebook else None))
    with stream:
        if notebook and not as_json:
            return Table(kind="events", rows=[row(event) for event in stream])
        try:
            for event in stream:
                here.write("stdout", f"{json.dumps(event) if as_json else line(event)}\n".encode())
        except KeyboardInterrupt:  # how people end it
            return None
    return None


def _stats(services: tuple[str, ...], *, all: bool, no_stream: bool, format: str | None) -> Result:
    """Show what the containers use: processor, memory, network, disk."""
    from notebook_containers.commands.usage import stats

    chosen = [one.name for one in opened().members(services) if all or one.container.status in ("running", "paused")]
    return stats(tuple(chosen), no_stream=no_stream, format=format) if chosen else Table(kind="stats", rows=[])


def _volumes(services: tuple[str, ...], *, quiet: bool, format: str | None) -> Result:
    """List the volumes that the project's file names and that are there."""
    project = opened()
    used = {point.volume for one in project.members(services) for point in one.container.document.mounts if point.volume}
    wanted = used if services else used | {volume.name for volume in project.project.volumes.values()}
    found = [volume for volume in face().engine.volumes.list() if volume.name in wanted]
    if quiet:
        return Names(names=[volume.name for volume in found])
    rows: list[Row] = [{"driver": "local", "name": v.name, "mountpoint": str(v.path), "created": v.created} for v in found]
    return Text(text=formatting.formatted("volumes", rows, format)) if format else Table(kind="volumes", rows=rows)


def _ls(*, all: bool, quiet: bool, filter: tuple[str, ...], format: str | None) -> Result:
    """List the projects that have containers."""
    from notebook_containers.compose.listing import projects

    wanted = _filtered(filter, "name")
    rows: list[Row] = [
        {"name": one.name, "status": one.status, "config_files": one.files}
        for one in projects(face().engine)
        if (all or one.running) and (not wanted or any(word in one.name for word in wanted))
    ]
    if quiet:
        return Names(names=[str(row["name"]) for row in rows])
    return Text(text=formatting.formatted("compose ls", rows, format)) if format else Table(kind="compose ls", rows=rows)


def _graph(services: tuple[str, ...]) -> Result:
    """Show the project as a picture: services, what they need, networks, volumes, ports, health, and what waited for what."""
    from notebook_containers.commands.compose_graph import graph_of

    return Graphed(graph=graph_of(opened(), services))


def _version(*, short: bool, format: str | None) -> Result:
    """Show the version."""
    if format == "json":
        return Text(text=json.dumps({"version": __version__}))
    return Text(text=__version__ if short else f"notebook_containers compose version {__version__}")


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


_FILTER = click.Option(["--filter"], multiple=True, metavar="KEY=VALUE", help="Only those that match.")
_INDEX = click.Option(["--index"], type=int, default=0, help="The number of the container, if the service has several.")

COMMANDS: Mapping[str, click.Command] = {
    "ps": _command(
        "ps",
        _ps,
        click.Option(["-a", "--all"], is_flag=True, help="Also those that do not run, and those that run made."),
        QUIET,
        click.Option(["services_only", "--services"], is_flag=True, help="Only the services' names."),
        _FILTER,
        click.Option(["--status"], multiple=True, type=click.Choice(_STATUSES), help="Only those in this state, as exited."),
        FORMAT,
        NO_TRUNC,
        click.Option(["--orphans/--no-orphans"], default=True, help="Also those of services that the file has no more."),
        SERVICES,
    ),
    "logs": _command(
        "logs",
        _logs,
        click.Option(["-f", "--follow"], is_flag=True, help="Wait for more until all have ended."),
        click.Option(["-n", "--tail"], metavar="N", default="all", show_default=True, help="Lines from the end of each container's."),
        click.Option(["--no-color"], is_flag=True, help="Show services in no colour."),
        click.Option(["--no-log-prefix"], is_flag=True, help="Show no service before its lines."),
        click.Option(["-t", "--timestamps"], is_flag=True, help="Show when each line was written."),
        click.Option(["--since"], metavar="TIME", help="Only from this time on: 2026-01-31T12:00:00Z, a Unix time, or 10m ago."),
        click.Option(["--until"], metavar="TIME", help="Only up to this time."),
        _INDEX,
        SERVICES,
    ),
    "images": _command("images", _images, QUIET, FORMAT, SERVICES),
    "top": _command("top", _top, SERVICES),
    "port": _command(
        "port",
        _port,
        click.Option(["--protocol"], default="tcp", show_default=True, help="tcp or udp."),
        _INDEX,
        click.Argument(["service"]),
        click.Argument(["private_port"]),
    ),
    "events": _command(
        "events",
        _events,
        click.Option(["as_json", "--json"], is_flag=True, help="One JSON object a line."),
        click.Option(["--since"], metavar="TIME", help="Also what was since then."),
        click.Option(["--until"], metavar="TIME", help="Only until then."),
        SERVICES,
    ),
    "stats": _command(
        "stats",
        _stats,
        click.Option(["-a", "--all"], is_flag=True, help="Also those that do not run."),
        click.Option(["--no-stream"], is_flag=True, help="Once."),
        FORMAT,
        SERVICES,
    ),
    "volumes": _command("volumes", _volumes, QUIET, FORMAT, SERVICES),
    "ls": _command("ls", _ls, click.Option(["-a", "--all"], is_flag=True, help="Also those that do not run."), QUIET, _FILTER, FORMAT),
    "graph": _command("graph", _graph, SERVICES),
    "version": _command(
        "version",
        _version,
        click.Option(["--short"], is_flag=True, help="Only the number."),
        click.Option(["-f", "--format"], help="pretty or json."),
    ),
}

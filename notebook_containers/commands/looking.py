"""Verbs that look at containers and into them: ps, logs, exec, attach, inspect, diff, top, port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.ending import ended
from notebook_containers.commands.face import detach_keys as parse_keys, face
from notebook_containers.commands.given import environment
from notebook_containers.commands.lifecycle import DETACH_KEYS, SIG_PROXY
from notebook_containers.commands.results import Documents, Ended, Names, Result, Row, Table, Text
from notebook_containers.commands.run import GRAMMAR
from notebook_containers.engine.filters import from_words
from notebook_containers.errors import ImageNotFound, InvalidArgument, NotFound
from notebook_containers.oci.documents import JSON

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container

FORMAT = click.Option(["--format"], help="json, table, or a template such as '{{.ID}} {{.Names}}'.")
QUIET = click.Option(["-q", "--quiet"], is_flag=True, help="Only the ids.")
NO_TRUNC = click.Option(["--no-trunc"], is_flag=True, help="Do not cut long fields.")


def container_row(container: Container, *, size: bool, full: bool = False) -> Row:
    """Return one row of ``ps``."""
    ports = [
        {"container_port": p.container_port, "protocol": p.protocol, "host_ip": p.host_ip, "host_port": p.host_port}
        for p in container.ports
    ]
    return {
        "container_id": container.id if full else container.short_id,
        "image": container.image,
        "command": container.command,
        "created": container.created,
        "status": container.status_text,
        "state": container.status,
        "exit_code": container.exit_code,
        "health": container.health if container.status in ("running", "paused") else "",
        "verdict": str(container.verdict),
        "ports": ports,
        "names": container.name,
        "networks": container.networks,
        "mounts": [m.volume or m.source for m in container.document.mounts],
        "size_rw": container.size_rw() if size else 0,
        "size_root_fs": container.size_root_fs() if size else 0,
        "labels": dict(container.labels),
        "restart_count": container.state.restart_count,
    }


def _ps(
    *,
    all: bool,
    quiet: bool,
    last: int,
    latest: bool,
    filter: tuple[str, ...],
    format: str | None,
    no_trunc: bool,
    size: bool,
) -> Result:
    """List containers."""
    found = face().engine.containers.list(all=all, limit=1 if latest else last, filters=from_words(filter))
    if quiet:
        return Text(text="\n".join(c.id if no_trunc else c.short_id for c in found))
    sized = size or face().adds_up_sizes or ".Size" in (format or "") or "json" in (format or "")
    rows = [container_row(c, size=sized, full=no_trunc) for c in found]
    also = ("Size",) if size else ()
    if format:
        return Text(text=formatting.formatted("ps", rows, format, whole=no_trunc, also=also))
    return Table(kind="ps", rows=rows, also=also, whole=no_trunc)


def _logs(container: str, *, follow: bool, tail: str, timestamps: bool, details: bool, since: str | None, until: str | None) -> Result:
    """Show the output of a container."""
    if tail != "all" and not tail.lstrip("-").isdigit():
        raise InvalidArgument(f"--tail {tail!r} is no number", hint="write a number of lines, or all")
    here = face()
    found = here.engine.containers.get(container)
    lines = found.log_lines(tail="all" if tail.startswith("-") else tail, since=since, until=until, follow=follow)
    from notebook_containers.engine.telling import shown

    for stream, data in shown(lines, timestamps=timestamps, details=found.log_details() if details else None):
        here.write(stream, data)
    return None


def _exec(container: str, command: tuple[str, ...], **given: object) -> Result:
    """Run a command in a running container."""
    return execute(face().engine.containers.get(container), command, given)


def execute(found: Container, command: tuple[str, ...], given: Mapping[str, object]) -> Result:
    """Run a command in a running container, as the options of ``exec`` say."""
    here, keys = face(), parse_keys(str(given["detach_keys"] or ""))
    if not given["detach"]:
        here.check_terminal(stdin=bool(given["interactive"]), tty=bool(given["tty"]))
    session = found.exec_session(
        command,
        user=str(given["user"] or ""),
        environment=environment(here, given),
        workdir=str(given["workdir"]) if given["workdir"] else None,
        tty=bool(given["tty"]),
        stdin=bool(given["interactive"]),
        privileged=bool(given["privileged"]),
        detach=bool(given["detach"]),
    )
    if session is None:
        return None
    with session:
        here.pump(session, found, stdin=bool(given["interactive"]), tty=bool(given["tty"]), detach_keys=keys)
    return Ended(exit_code=session.exit_code or 0, what=f"{' '.join(command)} in {found.name}", container_id=found.id)


def _attach(container: str, *, no_stdin: bool, detach_keys: str | None, sig_proxy: bool) -> Result:
    """Connect to the streams of a running container."""
    here, keys = face(), parse_keys(detach_keys or "")
    found = here.engine.containers.get(container)
    options = found.document.options
    stdin = options.stdin_open and not no_stdin
    here.check_terminal(stdin=stdin, tty=options.tty)
    with found.attach(stdin=stdin) as session:
        here.pump(session, found, stdin=stdin, tty=options.tty, detach_keys=keys, sig_proxy=sig_proxy)
        code = session.exit_code
    return ended(found, code)


def _inspect(names: tuple[str, ...], *, format: str | None, type: str | None, size: bool) -> Result:
    """Show everything known of containers, images, networks or volumes."""
    documents: list[Mapping[str, JSON]] = []
    failures: list[Exception] = []
    for name in names:
        try:
            documents.append(_document(name, type, size=size))
        except NotFound as err:
            failures.append(err)
    if format:
        return Names(names=[formatting.document_template(format, d) for d in documents], failures=failures)
    return Documents(documents=documents, failures=failures)


def _document(name: str, kind: str | None, *, size: bool) -> Mapping[str, JSON]:
    engine, missing = face().engine, None
    if kind in (None, "container"):
        try:
            found = engine.containers.get(name)
            return {**found.attrs, "SizeRw": found.size_rw(), "SizeRootFs": found.size_root_fs()} if size else found.attrs
        except NotFound:
            if kind:
                raise
    if kind in (None, "image"):
        try:
            return engine.images.find(name).attrs
        except (ImageNotFound, InvalidArgument) as err:
            if kind:
                raise
            missing = err
    if kind in (None, "network"):
        try:
            return engine.networks.get(name).attrs
        except NotFound:
            if kind:
                raise
    if kind in (None, "volume"):
        try:
            return engine.volumes.get(name).attrs
        except NotFound:
            if kind:
                raise
            hint = "no container, image, network or volume has that name; see nbc ps -a, images, network ls, volume ls"
            raise NotFound(f"no such object: {name}", hint=hint) from missing
    raise InvalidArgument(f"--type {kind!r} is not understood", hint="use container, image, network or volume")


def _diff(container: str, *, format: str | None) -> Result:
    """Show what a container changed on its filesystem."""
    rows = [{"kind": change.kind, "path": change.path} for change in face().engine.containers.get(container).diff()]
    return Text(text=formatting.formatted("diff", rows, format)) if format else Table(kind="diff", rows=rows)


def _top(container: str, ps_options: tuple[str, ...]) -> Result:
    """Show the processes of a running container; ps options may follow: aux, -o pid,etime,args."""
    found = face().engine.containers.get(container)
    if ps_options or face().streams:
        listing = found.top(ps_args=" ".join(ps_options))
        return Text(text=formatting.aligned(_texts(listing["Titles"]), [_texts(row) for row in _items(listing["Processes"])]))
    rows: list[Row] = [{"PID": p.pid, "PPID": p.ppid, "UID": p.uid, "SECONDS": int(p.elapsed), "CMD": p.args} for p in found.processes()]
    return Table(kind="top", rows=rows)


def _items(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []


def _texts(value: JSON) -> list[str]:
    return [str(item) for item in _items(value)]


def _port(container: str, port: str | None) -> Result:
    """Show the published ports of a container."""
    found = face().engine.containers.get(container)
    rows = [{"container": f"{p.container_port}/{p.protocol}", "host": f"{p.host}:{p.host_port}"} for p in found.ports]
    if port is None:
        return Table(kind="port", rows=rows)
    wanted = port if "/" in port else f"{port}/tcp"
    hosts = [str(row["host"]) for row in rows if row["container"] == wanted]
    if not hosts:
        raise NotFound(f"no public port {wanted!r} published for {container}", hint="see nbc port " + container)
    return Names(names=hosts)


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter, grammar: bool = False) -> click.Command:
    settings = GRAMMAR if grammar else None
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__, context_settings=settings)


_CONTAINER = click.Argument(["container"])

COMMANDS: Mapping[str, click.Command] = {
    "ps": _command(
        "ps",
        _ps,
        click.Option(["-a", "--all"], is_flag=True, help="Also those that do not run."),
        QUIET,
        click.Option(["-n", "--last"], type=int, default=-1, help="The last N, whatever their state."),
        click.Option(["-l", "--latest"], is_flag=True, help="The last one, whatever its state."),
        click.Option(["-f", "--filter"], multiple=True, metavar="KEY=VALUE", help="Only those that match, as status=exited."),
        FORMAT,
        NO_TRUNC,
        click.Option(["-s", "--size"], is_flag=True, help="Show the bytes it wrote, and of its whole file system."),
    ),
    "logs": _command(
        "logs",
        _logs,
        click.Option(["-f", "--follow"], is_flag=True, help="Wait for more until it ends."),
        click.Option(["-n", "--tail"], metavar="N", default="all", show_default=True, help="Lines from the end."),
        click.Option(["-t", "--timestamps"], is_flag=True, help="Show when each line was written."),
        click.Option(["--details"], is_flag=True, help="Show what log options add to each line."),
        click.Option(["--since"], metavar="TIME", help="Only from this time on: 2026-01-31T12:00:00Z, a Unix time, or 10m ago."),
        click.Option(["--until"], metavar="TIME", help="Only up to this time."),
        _CONTAINER,
    ),
    "exec": _command(
        "exec",
        _exec,
        click.Option(["-d", "--detach"], is_flag=True, help="Do not wait for it."),
        click.Option(["-i", "--interactive"], is_flag=True, help="Pass the standard input on."),
        click.Option(["-t", "--tty"], is_flag=True, help="Give it a terminal."),
        click.Option(["-u", "--user"], metavar="USER[:GROUP]", help="Run as this user."),
        click.Option(["-w", "--workdir"], metavar="PATH", help="Working directory, which must be there."),
        click.Option(["-e", "--env"], multiple=True, metavar="NAME[=VALUE]", help="Set an environment variable."),
        click.Option(["--env-file"], multiple=True, type=click.Path(), help="Read environment variables from a file."),
        DETACH_KEYS,
        click.Option(["--privileged"], is_flag=True, help="Give it all capabilities."),
        _CONTAINER,
        click.Argument(["command"], nargs=-1, required=True, type=click.UNPROCESSED),
        grammar=True,
    ),
    "attach": _command(
        "attach", _attach, click.Option(["--no-stdin"], is_flag=True, help="Only show the output."), DETACH_KEYS, SIG_PROXY, _CONTAINER
    ),
    "inspect": _command(
        "inspect",
        _inspect,
        click.Option(["-f", "--format"], help="json, or a template such as '{{.State.Status}}'."),
        click.Option(["-s", "--size"], is_flag=True, help="Add the bytes of a container's file system."),
        click.Option(["--type"], help="container, image, network or volume."),
        click.Argument(["names"], nargs=-1, required=True),
    ),
    "diff": _command("diff", _diff, FORMAT, _CONTAINER),
    "top": _command("top", _top, _CONTAINER, click.Argument(["ps_options"], nargs=-1, type=click.UNPROCESSED), grammar=True),
    "port": _command("port", _port, _CONTAINER, click.Argument(["port"], required=False)),
}

"""``compose`` verbs: up, down, start, stop, restart, build, ps, logs, config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from notebook_containers.commands.face import face
from notebook_containers.commands.looking import container_row
from notebook_containers.commands.results import Names, Result, Table, Text

if TYPE_CHECKING:
    from notebook_containers.compose.project import ComposeProject
    from notebook_containers.engine.container import Container


def _project() -> ComposeProject:
    """Open the project the group's options name, and say once what of it is not honoured."""
    from notebook_containers.compose.project import open_project

    here = face()
    parent = click.get_current_context().parent
    given = parent.params if parent else {}
    directory = here.cwd / str(given["project_directory"]) if given.get("project_directory") else None
    file = here.cwd / str(given["file"]) if given.get("file") else None
    base = directory or (None if file else here.cwd)
    found = open_project(here.engine, text=here.cell, file=file, directory=base, name=str(given.get("project_name") or ""))
    for text in found.project.notes:
        here.note(text)
    return found


def _say(line: str) -> None:
    face().write("stdout", f"{line}\n".encode())


def _rows(containers: Sequence[Container]) -> Table:
    return Table(kind="ps", rows=[container_row(c, size=False) for c in containers])


def _up(services: tuple[str, ...], *, detach: bool, build: bool) -> Result:
    """Make and start the project's containers; without -d their output follows until they end or are interrupted."""
    project = _project()
    started = project.up(services, build=build, told=_say)
    if detach or face().cell is not None:
        return _rows(project.containers())
    try:
        _follow(started)
    except KeyboardInterrupt:
        project.stop()
        raise
    return None


def _follow(containers: Sequence[Container], *, tail: str = "all") -> None:
    """Relay several logs at once, each line behind its service's name."""
    import queue
    import threading

    lines: queue.Queue[tuple[str, bytes] | None] = queue.Queue()

    def read(container: Container) -> None:
        name = container.labels.get("com.docker.compose.service", container.name)
        for line in container.log_lines(follow=True, tail=tail):
            lines.put((name, line.data))
        lines.put(None)

    for container in containers:
        threading.Thread(target=read, args=(container,), daemon=True).start()
    left = len(containers)
    while left:
        item = lines.get()
        if item is None:
            left -= 1
        else:
            face().write("stdout", f"{item[0]}  | ".encode() + item[1])


def _down(*, volumes: bool) -> Result:
    """Stop and remove the project's containers."""
    _project().down(volumes=volumes, told=_say)
    return None


def _names(containers: Sequence[Container]) -> Names:
    return Names(names=[c.name for c in containers])


def _start(services: tuple[str, ...]) -> Result:
    """Start the project's stopped containers."""
    return _names(_project().start(services))


def _stop(services: tuple[str, ...]) -> Result:
    """Stop the project's running containers."""
    return _names(_project().stop(services))


def _restart(services: tuple[str, ...]) -> Result:
    """Restart the project's containers."""
    return _names(_project().restart(services))


def _build(services: tuple[str, ...]) -> Result:
    """Build the images of services that have a build section."""
    return Names(names=_project().build(services))


def _ps() -> Result:
    """List the project's containers."""
    return _rows(_project().containers())


def _logs(services: tuple[str, ...], *, follow: bool, tail: str) -> Result:
    """Show the output of the project's containers."""
    project = _project()
    chosen = [c for c in project.containers() if not services or c.labels.get("com.docker.compose.service") in services]
    if follow:
        _follow(chosen, tail=tail)
        return None
    for container in chosen:
        name = container.labels.get("com.docker.compose.service", container.name)
        for line in container.log_lines(tail=tail):
            face().write(line.stream, f"{name}  | ".encode() + line.data)
    return None


def _config(*, services: bool) -> Result:
    """Check the file and show what was understood."""
    import dataclasses

    import yaml

    project = _project().project
    if services:
        return Names(names=[s.name for s in project.services])
    plain = {
        "name": project.name,
        "services": {s.name: {k: v for k, v in dataclasses.asdict(s).items() if v and k != "name"} for s in project.services},
    }
    return Text(text=yaml.safe_dump(_lists(plain), sort_keys=False).rstrip())


def _lists(value: object) -> object:
    if isinstance(value, Mapping):
        return {k: _lists(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lists(v) for v in value]
    return value


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


_SERVICES = click.Argument(["services"], nargs=-1)

_GROUP = click.Group(
    "compose",
    params=[
        click.Option(["-f", "--file"], help="The compose file (compose.yaml or docker-compose.yml here)."),
        click.Option(["-p", "--project-name"], help="Name of the project (the directory's)."),
        click.Option(["--project-directory"], help="Where relative paths start."),
    ],
    help="Run the services of a compose file.",
)
for _verb in (
    _command(
        "up",
        _up,
        click.Option(["-d", "--detach"], is_flag=True, help="Run in the background."),
        click.Option(["--build"], is_flag=True, help="Build images first."),
        _SERVICES,
    ),
    _command("down", _down, click.Option(["-v", "--volumes"], is_flag=True, help="Remove its named volumes too.")),
    _command("start", _start, _SERVICES),
    _command("stop", _stop, _SERVICES),
    _command("restart", _restart, _SERVICES),
    _command("build", _build, _SERVICES),
    _command("ps", _ps),
    _command(
        "logs",
        _logs,
        click.Option(["-f", "--follow"], is_flag=True, help="Wait for more."),
        click.Option(["-n", "--tail"], default="all", help="Lines from the end."),
        _SERVICES,
    ),
    _command("config", _config, click.Option(["--services"], is_flag=True, help="Only the services' names.")),
):
    _GROUP.add_command(_verb)

COMMANDS: Mapping[str, click.Command] = {"compose": _GROUP}

"""``compose`` verbs that go inside: exec, run, cp."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from notebook_containers.commands.compose import opened, shown
from notebook_containers.commands.ending import ended
from notebook_containers.commands.face import Face, face
from notebook_containers.commands.given import environment
from notebook_containers.commands.looking import execute
from notebook_containers.commands.results import Result, Started
from notebook_containers.commands.run import GRAMMAR
from notebook_containers.errors import Conflict, ContainerNotFound

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container


def _terminal(here: Face, given: Mapping[str, object]) -> tuple[bool, bool]:
    """Return whether standard input and a terminal are given on: compose's exec and run have both unless told otherwise."""
    if not here.streams:
        return False, False
    return given["interactive"] is not False, not given["no_tty"] and sys.stdin.isatty() and sys.stdout.isatty()


def _exec(service: str, command: tuple[str, ...], **given: object) -> Result:
    """Run a command in a running container of a service."""
    stdin, tty = _terminal(face(), given)
    index = given["index"]
    container = opened().container(service, index if isinstance(index, int) else 0)
    return execute(container, command, {**given, "interactive": stdin, "tty": tty, "detach_keys": "", "env_file": ()})


def _run(service: str, command: tuple[str, ...], **given: object) -> Result:
    """Run a command in a new container of a service, with what the service needs up."""
    from notebook_containers.compose.images import Making
    from notebook_containers.compose.oneoff import Once

    here, project = face(), opened(needs_file=True)
    stdin, tty = _terminal(here, given)
    stdin, tty = stdin and not given["detach"], tty and not given["detach"]
    mode = "quiet" if given["quiet_build"] else "auto"
    once = Once(
        name=_text(given["name"]),
        entrypoint=shlex.split(str(given["entrypoint"])) if given["entrypoint"] is not None else None,
        environment={
            name: str(value) for name, _, value in (str(w).partition("=") for w in environment(here, {**given, "env_file": ()}) or ())
        },
        labels=dict(str(word).partition("=")[::2] for word in _many(given["label"])),
        ports=_many(given["publish"]),
        service_ports=bool(given["service_ports"]),
        use_aliases=bool(given["use_aliases"]),
        user=_text(given["user"]),
        working_dir=_text(given["workdir"]),
        volumes=_many(given["volume"]),
        cap_add=_many(given["cap_add"]),
        cap_drop=_many(given["cap_drop"]),
        stdin=stdin,
        tty=tty,
        remove=bool(given["rm"]),
        making=Making(build=bool(given["build"]), pull=_text(given["pull"]), view=lambda _name: here.build_view(mode)),
    )
    with shown(project, [service], quiet=True) as told:
        if given["remove_orphans"]:
            project.remove_orphans(told=told)
        container = project.run(service, command, once=once, no_deps=bool(given["no_deps"]), told=told)
    try:
        if given["detach"]:
            container.start()
            return Started(container=container)
        return _foreground(here, container, stdin=stdin, tty=tty)
    except BaseException:
        if given["rm"] or container.status == "created":
            _remove(container)
        raise


def _foreground(here: Face, container: Container, *, stdin: bool, tty: bool) -> Result:
    session = container.start_attached(stdin=stdin)
    if session is None:
        raise Conflict(f"container {container.name} was started by someone else", hint=f"see nbc logs {container.name}")
    with session:
        here.pump(session, container, stdin=stdin, tty=tty)
        code = session.exit_code
    result = ended(container, code)
    if code is not None and container.document.options.auto_remove:
        _remove(container)
    return result


def _remove(container: Container) -> None:
    with suppress(ContainerNotFound):
        container.remove(force=True, v=True)


def _cp(source: str, destination: str, *, archive: bool, follow_link: bool, index: int) -> Result:
    """Copy files between a service's container (SERVICE:PATH) and this machine; - is a tar stream."""
    from notebook_containers.commands import files

    project = opened()
    words = []
    for word in (source, destination):
        service, path = files.split(word)
        words.append(f"{project.container(service, index).name}:{path}" if service else word)
    return files.copy(words[0], words[1], archive=archive, follow_link=follow_link, quiet=True)


def _text(value: object) -> str:
    return str(value) if value is not None else ""


def _many(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, tuple) else []


def _flag(*names: str, help: str) -> click.Option:
    return click.Option(list(names), is_flag=True, help=help)


_INDEX = click.Option(["--index"], type=int, default=0, help="The number of the container, if the service has several.")
_NO_TTY = _flag("no_tty", "-T", "--no-TTY", help="Give it no terminal.")
_ENV = click.Option(["-e", "--env"], multiple=True, metavar="NAME[=VALUE]", help="Set an environment variable.")
_USER = click.Option(["-u", "--user"], metavar="USER[:GROUP]", help="Run as this user.")
_WORKDIR = click.Option(["-w", "--workdir"], metavar="PATH", help="Working directory.")
_INTERACTIVE = click.Option(["-i", "--interactive/--no-interactive"], default=True, hidden=True, help="Pass the standard input on.")


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter, grammar: bool = True) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__, context_settings=GRAMMAR if grammar else None)


COMMANDS: Mapping[str, click.Command] = {
    "exec": _command(
        "exec",
        _exec,
        _flag("-d", "--detach", help="Do not wait for it."),
        _ENV,
        _INDEX,
        _NO_TTY,
        _INTERACTIVE,
        _flag("-t", "--tty", help="Give it a terminal (so anyway where there is one)."),
        _USER,
        _WORKDIR,
        _flag("--privileged", help="Give it all capabilities."),
        click.Argument(["service"]),
        click.Argument(["command"], nargs=-1, required=True, type=click.UNPROCESSED),
    ),
    "run": _command(
        "run",
        _run,
        _flag("-d", "--detach", help="Run in the background and print the container id."),
        _flag("--rm", help="Remove it when it has ended."),
        _ENV,
        click.Option(["-l", "--label"], multiple=True, metavar="NAME=VALUE", help="Set a label."),
        click.Option(["-p", "--publish"], multiple=True, metavar="PORT", help="Publish a port."),
        _flag("-P", "--service-ports", help="Publish the service's ports."),
        _flag("--use-aliases", help="Let it answer to the service's names."),
        click.Option(["--name"], help="Its name."),
        click.Option(["--entrypoint"], help="Its entrypoint."),
        click.Option(["-v", "--volume"], multiple=True, metavar="[SOURCE:]TARGET", help="Mount something more."),
        click.Option(["--cap-add"], multiple=True, help="Give it a capability."),
        click.Option(["--cap-drop"], multiple=True, help="Take a capability away."),
        click.Option(["--pull"], type=click.Choice(["always", "missing", "never"]), help="When the image is fetched first."),
        _flag("--build", help="Build the image first."),
        _flag("--quiet-pull", help="Show no progress of pulls."),
        _flag("--quiet-build", help="Show no progress of builds."),
        _flag("--no-deps", help="Leave out what the service depends on."),
        _flag("--remove-orphans", help="Remove containers of services that the file has no more."),
        _NO_TTY,
        _INTERACTIVE,
        _flag("-t", "--tty", help="Give it a terminal (so anyway where there is one)."),
        _USER,
        _WORKDIR,
        click.Argument(["service"]),
        click.Argument(["command"], nargs=-1, type=click.UNPROCESSED),
    ),
    "cp": _command(
        "cp",
        _cp,
        _flag("-a", "--archive", help="Keep owners."),
        _flag("-L", "--follow-link", help="Follow a link in the source."),
        _INDEX,
        click.Argument(["source"]),
        click.Argument(["destination"]),
        grammar=False,
    ),
}

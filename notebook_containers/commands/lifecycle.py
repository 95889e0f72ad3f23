"""Verbs on existing containers that change their state: start, stop, restart, kill, pause, unpause, wait, rm, rename, prune."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import click

from notebook_containers.commands.ending import ended
from notebook_containers.commands.face import face
from notebook_containers.commands.figures import docker_size
from notebook_containers.commands.results import Names, Result, Text
from notebook_containers.engine.container import Container
from notebook_containers.engine.filters import from_words
from notebook_containers.errors import Conflict, Error

_CONTAINERS = click.Argument(["containers"], nargs=-1, required=True)
_TIME = click.Option(["-t", "--time", "--timeout"], type=int, default=None, help="Seconds to wait before it is killed.")


def on_each(names: Sequence[str], act: Callable[[Container], None]) -> Names:
    """Do ``act`` on every named container; what fails is kept and does not stop the others."""
    engine = face().engine
    done: list[str] = []
    failures: list[Exception] = []
    for name in names:
        try:
            act(engine.containers.get(name))
        except Error as err:
            failures.append(err)
        else:
            done.append(name)
    return Names(names=done, failures=failures)


def _start(containers: tuple[str, ...], *, attach: bool, interactive: bool) -> Result:
    """Start one or more stopped containers."""
    if not attach and not interactive:
        return on_each(containers, lambda c: c.start())
    if len(containers) != 1:
        raise click.UsageError("only one container can be started and attached to at once")
    here = face()
    container = here.engine.containers.get(containers[0])
    here.check_terminal(stdin=interactive, tty=container.document.options.tty)
    session = container.start_attached(stdin=interactive)
    if session is None:
        raise Conflict(f"container {container.name} runs already", hint=f"attach to it: nbc attach {container.name}")
    with session:
        here.pump(session, container, stdin=interactive, tty=container.document.options.tty)
        code = session.exit_code
    return ended(container, code)


def _stop(containers: tuple[str, ...], *, time: int | None) -> Result:
    """Stop one or more running containers."""
    return on_each(containers, lambda c: c.stop(timeout=time))


def _restart(containers: tuple[str, ...], *, time: int | None) -> Result:
    """Restart one or more containers."""
    return on_each(containers, lambda c: c.restart(timeout=time))


def _kill(containers: tuple[str, ...], *, signal: str) -> Result:
    """Send a signal to one or more running containers."""
    return on_each(containers, lambda c: c.kill(signal))


def _pause(containers: tuple[str, ...]) -> Result:
    """Freeze all processes of one or more containers."""
    return on_each(containers, lambda c: c.pause())


def _unpause(containers: tuple[str, ...]) -> Result:
    """Let the processes of one or more frozen containers go on."""
    return on_each(containers, lambda c: c.unpause())


def _wait(containers: tuple[str, ...]) -> Result:
    """Wait until one or more containers end, and print their exit codes."""
    engine = face().engine
    codes = [str(engine.containers.get(name).wait()["StatusCode"]) for name in containers]
    return Text(text="\n".join(codes))


def _rm(containers: tuple[str, ...], *, force: bool, volumes: bool) -> Result:
    """Remove one or more containers."""
    return on_each(containers, lambda c: c.remove(force=force, v=volumes))


def _rename(container: str, name: str) -> Result:
    """Rename a container."""
    face().engine.containers.get(container).rename(name)
    return None


def _prune(*, force: bool, filter: tuple[str, ...]) -> Result:  # noqa: ARG001
    """Remove all containers that do not run."""
    result = face().engine.containers.prune(from_words(filter))
    deleted = result["ContainersDeleted"]
    lines = ["Deleted Containers:", *deleted, ""] if isinstance(deleted, list) and deleted else []
    return Text(text="\n".join([*lines, f"Total reclaimed space: {docker_size(int(str(result['SpaceReclaimed'])))}"]))


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


COMMANDS: Mapping[str, click.Command] = {
    "start": _command(
        "start",
        _start,
        click.Option(["-a", "--attach"], is_flag=True, help="Show its output until it ends."),
        click.Option(["-i", "--interactive"], is_flag=True, help="Pass the standard input on."),
        _CONTAINERS,
    ),
    "stop": _command("stop", _stop, _TIME, _CONTAINERS),
    "restart": _command("restart", _restart, _TIME, _CONTAINERS),
    "kill": _command(
        "kill", _kill, click.Option(["-s", "--signal"], default="KILL", show_default=True, help="Signal to send."), _CONTAINERS
    ),
    "pause": _command("pause", _pause, _CONTAINERS),
    "unpause": _command("unpause", _unpause, _CONTAINERS),
    "wait": _command("wait", _wait, _CONTAINERS),
    "rm": _command(
        "rm",
        _rm,
        click.Option(["-f", "--force"], is_flag=True, help="Kill it first when it runs."),
        click.Option(["-v", "--volumes"], is_flag=True, help="Remove its anonymous volumes too."),
        _CONTAINERS,
    ),
    "rename": _command("rename", _rename, click.Argument(["container"]), click.Argument(["name"])),
    "prune": _command(
        "prune",
        _prune,
        click.Option(["-f", "--force"], is_flag=True, help="Do not ask (never asked here)."),
        click.Option(["--filter"], multiple=True, metavar="KEY=VALUE", help="Only those that match: until=24h, label=…, label!=…"),
    ),
}

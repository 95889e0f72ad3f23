"""Verbs on existing containers that change their state: start, stop, restart, kill, pause, unpause, wait, rm, rename, prune."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from notebook_containers.commands.ending import ended
from notebook_containers.commands.face import detach_keys, face
from notebook_containers.commands.removed import removed
from notebook_containers.commands.results import Names, Result
from notebook_containers.engine.filters import from_words
from notebook_containers.errors import Conflict, ContainerNotFound, Error, Unsupported

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container

_CONTAINERS = click.Argument(["containers"], nargs=-1, required=True)
_TIME = click.Option(["-t", "--time", "--timeout"], type=int, default=None, help="Seconds to wait before it is killed; -1: for ever.")
_SIGNAL = click.Option(["-s", "--signal"], help="Signal that asks it to end, instead of its own.")
DETACH_KEYS = click.Option(["--detach-keys"], metavar="KEYS", help="Keys that leave it running, as ctrl-p,ctrl-q.")
SIG_PROXY = click.Option(["--sig-proxy"], type=bool, default=True, show_default=True, help="Pass signals on to the container.")


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


def _start(
    containers: tuple[str, ...], *, attach: bool, interactive: bool, keys: str | None, sig_proxy: bool, checkpoint: str | None
) -> Result:
    """Start one or more stopped containers."""
    if checkpoint:
        raise Unsupported("--checkpoint is not supported", hint="containers cannot be frozen to disk here; nbc commit keeps their files")
    typed = detach_keys(keys or "")
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
        here.pump(session, container, stdin=interactive, tty=container.document.options.tty, detach_keys=typed, sig_proxy=sig_proxy)
        code = session.exit_code
    return ended(container, code)


def _stop(containers: tuple[str, ...], *, time: int | None, signal: str | None) -> Result:
    """Stop one or more running containers."""
    return on_each(containers, lambda c: c.stop(timeout=time, signal=signal))


def _restart(containers: tuple[str, ...], *, time: int | None, signal: str | None) -> Result:
    """Restart one or more containers."""
    return on_each(containers, lambda c: c.restart(timeout=time, signal=signal))


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
    codes: list[str] = []
    done = on_each(containers, lambda c: codes.append(str(c.wait()["StatusCode"])))
    return Names(names=codes, failures=done.failures)


def _rm(containers: tuple[str, ...], *, force: bool, volumes: bool) -> Result:
    """Remove one or more containers."""
    done = on_each(containers, lambda c: c.remove(force=force, v=volumes))
    if not force:
        return done
    for err in done.failures:
        if isinstance(err, ContainerNotFound):  # as wanted: it is not there
            face().note(err.message)
    return Names(names=done.names, failures=[err for err in done.failures if not isinstance(err, ContainerNotFound)])


def _rename(container: str, name: str) -> Result:
    """Rename a container."""
    face().engine.containers.get(container).rename(name)
    return None


def _prune(*, force: bool, filter: tuple[str, ...]) -> Result:  # noqa: ARG001
    """Remove all containers that do not run."""
    result = face().engine.containers.prune(from_words(filter))
    deleted = result["ContainersDeleted"]
    names = [str(name) for name in deleted] if isinstance(deleted, list) else []
    lines = ["Deleted Containers:", *names, ""] if names else []
    return removed({"container": names}, lines, int(str(result["SpaceReclaimed"])))


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


COMMANDS: Mapping[str, click.Command] = {
    "start": _command(
        "start",
        _start,
        click.Option(["-a", "--attach"], is_flag=True, help="Show its output until it ends."),
        click.Option(["-i", "--interactive"], is_flag=True, help="Pass the standard input on."),
        click.Option(["keys", "--detach-keys"], metavar="KEYS", help="Keys that leave it running, as ctrl-p,ctrl-q."),
        SIG_PROXY,
        click.Option(["--checkpoint"], hidden=True, help="Not supported."),
        _CONTAINERS,
    ),
    "stop": _command("stop", _stop, _SIGNAL, _TIME, _CONTAINERS),
    "restart": _command("restart", _restart, _SIGNAL, _TIME, _CONTAINERS),
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

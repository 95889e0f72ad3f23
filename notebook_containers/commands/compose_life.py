"""``compose`` verbs that change what runs: up, down, create, start, stop, restart, kill, pause, unpause, rm, scale, wait, watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from notebook_containers.commands.compose import SERVICES, group_option, opened, shown
from notebook_containers.commands.face import Face, face
from notebook_containers.commands.results import Ended, Result, Text
from notebook_containers.errors import InvalidArgument

if TYPE_CHECKING:
    from notebook_containers.compose.attached import Ending
    from notebook_containers.compose.logs import Said
    from notebook_containers.compose.progress import Tell, Told
    from notebook_containers.compose.project import ComposeProject
    from notebook_containers.engine.container import Container

_TIMEOUT = click.Option(["-t", "--timeout"], type=int, default=None, help="Seconds before a container is killed that is to stop.")


def _up(services: tuple[str, ...], **given: object) -> Result:
    """Make and start the containers; without -d their output follows until they end or are interrupted."""
    from notebook_containers.compose import attached, privileges

    here, project = face(), opened(needs_file=True)
    for note in privileges.told(project.project):
        here.note(note)
    ending = _ending(given)
    exit_code_from = str(given["exit_code_from"] or "")
    attached.check(detach=bool(given["detach"]), ending=ending, exit_code_from=exit_code_from)
    # a cell is over when everything is up, unless something is said to end it
    stays = not given["detach"] and not given["wait"] and not given["no_start"] and (here.streams or ending != "all")
    began = time.time()
    try:
        _bring_up(project, services, given)
        if not stays and not given["watch"]:
            return None
        if given["watch"]:
            return _watching(project, services, prune=True)
        wanted = [*_many(given["attach"])] or list(services)
        how = attached.Attached(
            ending=ending, exit_code_from=exit_code_from, since=began, stop_timeout=_whole(given["timeout"]), told=_noting(here)
        )
        code = attached.stay(project, _without(project, wanted, _many(given["no_attach"])), _line_writer(given), how)
    except KeyboardInterrupt:
        if stays:
            project.stop(services, timeout=_whole(given["timeout"]))
        raise
    return Ended(exit_code=code, what=f"project {project.name}") if code else None


def _bring_up(project: ComposeProject, services: Sequence[str], given: Mapping[str, object]) -> list[Container]:
    here = face()
    parallel = group_option("parallel")
    with shown(project, services, quiet=bool(given.get("quiet"))) as told:
        return project.up(
            services,
            build=bool(given["build"]),
            no_build=bool(given["no_build"]),
            pull=str(given["pull"] or ""),
            quiet_pull=bool(given["quiet_pull"]),
            force_recreate=bool(given["force_recreate"]),
            no_recreate=bool(given["no_recreate"]),
            always_recreate_deps=bool(given.get("always_recreate_deps")),
            no_deps=bool(given.get("no_deps")),
            scale=_counts(_many(given["scale"])),
            remove_orphans=bool(given["remove_orphans"]),
            renew_anon_volumes=bool(given.get("renew_anon_volumes")),
            timeout=_whole(given.get("timeout")),
            wait=bool(given.get("wait")),
            wait_timeout=_whole(given.get("wait_timeout")),
            start=not given.get("no_start"),
            view=lambda _name: here.build_view("quiet" if given.get("quiet_build") else "auto"),
            told=told,
            **({"parallel": parallel} if isinstance(parallel, int) and parallel > 0 else {}),
        )


def _ending(given: Mapping[str, object]) -> Ending:
    if given["abort_on_container_exit"] and given["abort_on_container_failure"]:
        raise InvalidArgument(
            "--abort-on-container-exit contradicts --abort-on-container-failure", hint="the first stops at any end, the second at a failure"
        )
    if given["abort_on_container_exit"] or given["exit_code_from"]:
        return "any"
    return "failure" if given["abort_on_container_failure"] else "all"


def _noting(here: Face) -> Tell:
    """Return who writes a line for each thing that is told, from any thread."""
    return lambda event: here.write("stderr", f"{event.line()}\n".encode())


def _line_writer(given: Mapping[str, object]) -> Callable[[Said], None]:
    from notebook_containers.commands.compose_look import LineWriter

    return LineWriter(
        face(), prefix=not given["no_log_prefix"], colours=not given["no_color"], timestamps=bool(given["timestamps"]), ends=True
    )


def _without(project: ComposeProject, services: Sequence[str], silent: Sequence[str]) -> list[str]:
    for name in silent:
        project.project.service(name)
    if not silent:
        return list(services)
    return [name for name in (services or [one.name for one in project.project.services]) if name not in silent]


def _counts(words: Sequence[str]) -> dict[str, int]:
    found = {}
    for word in words:
        name, equals, count = word.partition("=")
        if not equals or not count.isascii() or not count.isdigit():
            raise InvalidArgument(f"{word!r} says no number of containers", hint="write SERVICE=NUMBER, as web=3")
        found[name] = int(count)
    return found


def _create(services: tuple[str, ...], **given: object) -> Result:
    """Make the containers without starting them."""
    _bring_up(opened(needs_file=True), services, {**given, "no_start": True})
    return None


def _down(services: tuple[str, ...], **given: object) -> Result:
    """Stop and remove the containers and networks that the project made."""
    project = opened()
    with shown(project, services) as told:
        project.down(
            services,
            volumes=bool(given["volumes"]),
            remove_orphans=bool(given["remove_orphans"]),
            rmi=str(given["rmi"] or ""),
            timeout=_whole(given["timeout"]),
            told=told,
        )
    return None


def _start(services: tuple[str, ...]) -> Result:
    """Start the containers that exist."""
    project = opened()
    with shown(project, services) as told:
        project.start(services, told=told)
    return None


def _stop(services: tuple[str, ...], *, timeout: int | None) -> Result:
    """Stop the running containers, dependents first."""
    project = opened()
    with shown(project, services) as told:
        project.stop(services, timeout=timeout, told=told)
    return None


def _restart(services: tuple[str, ...], *, timeout: int | None, no_deps: bool) -> Result:
    """Stop and start the containers."""
    project = opened()
    with shown(project, services) as told:
        project.restart(services, timeout=timeout, no_deps=no_deps, told=told)
    return None


def _kill(services: tuple[str, ...], *, signal: str, remove_orphans: bool) -> Result:
    """Send a signal to the running containers."""
    project = opened()
    with shown(project, services) as told:
        project.kill(services, signal=signal, told=told)
        if remove_orphans:
            project.remove_orphans(told=told)
    return None


def _pause(services: tuple[str, ...]) -> Result:
    """Freeze the running containers."""
    project = opened()
    with shown(project, services) as told:
        project.pause(services, told=told)
    return None


def _unpause(services: tuple[str, ...]) -> Result:
    """Let frozen containers go on."""
    project = opened()
    with shown(project, services) as told:
        project.unpause(services, told=told)
    return None


def _rm(services: tuple[str, ...], *, force: bool, stop: bool, volumes: bool) -> Result:  # noqa: ARG001
    """Remove the containers that do not run."""
    project = opened()
    with shown(project, services) as told:
        names = project.rm(services, stop=stop, volumes=volumes, told=told)
    return None if names else Text(text="No stopped containers")


def _scale(counts: tuple[str, ...], *, no_deps: bool) -> Result:
    """Have so many containers of a service: SERVICE=NUMBER."""
    project, wanted = opened(needs_file=True), _counts(counts)
    with shown(project, list(wanted)) as told:
        project.scale(wanted, no_deps=no_deps, told=told)
    return None


def _wait(services: tuple[str, ...], *, down_project: bool) -> Result:
    """Wait until the services' containers end, and print their exit statuses."""
    project = opened()
    codes = project.wait(services)
    if down_project:
        project.down()
    first = next((code for code in codes.values() if code), 0)
    return Text(text="\n".join(str(code) for code in codes.values()), status=first)


def _watch(services: tuple[str, ...], *, no_up: bool, quiet: bool, prune: bool) -> Result:
    """Follow the files that develop.watch names: sync, rebuild, restart what they are of; until interrupted."""
    project = opened(needs_file=True)
    if not no_up:
        with shown(project, services, quiet=quiet) as told:
            project.up(services, build=True, told=told)
    return _watching(project, services, prune=prune)


def _watching(project: ComposeProject, services: Sequence[str], *, prune: bool) -> Result:
    here = face()

    def told(event: Told) -> None:
        here.write("stdout", f"{event.line()}\n".encode())

    try:
        project.watch(services, prune=prune, told=told)
    except KeyboardInterrupt:
        return None
    return None


def _many(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, tuple) else []


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _flag(*names: str, help: str) -> click.Option:
    return click.Option(list(names), is_flag=True, help=help)


_MAKING = (
    _flag("--build", help="Build images first."),
    _flag("--no-build", help="Build no image, even if it is missing."),
    click.Option(["--pull"], type=click.Choice(["always", "missing", "never", "build"]), help="When images are fetched first."),
    _flag("--quiet-pull", help="Show no progress of pulls."),
    _flag("--force-recreate", help="Make containers anew that are right already."),
    _flag("--no-recreate", help="Leave containers as they are, even if their configuration changed."),
    _flag("--remove-orphans", help="Remove containers of services that the file has no more."),
    click.Option(["--scale"], multiple=True, metavar="SERVICE=NUMBER", help="Have so many containers of a service."),
)


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


COMMANDS: Mapping[str, click.Command] = {
    "up": _command(
        "up",
        _up,
        _flag("-d", "--detach", help="Run in the background."),
        *_MAKING,
        _flag("--no-deps", help="Leave out what the named services depend on."),
        _flag("--always-recreate-deps", help="Make anew what the named services depend on, too."),
        _flag("--no-start", help="Make containers without starting them."),
        _flag("-V", "--renew-anon-volumes", help="Give new containers new anonymous volumes."),
        _flag("--wait", help="Wait until everything runs and is healthy; implies -d."),
        click.Option(["--wait-timeout"], type=int, default=None, help="Seconds that --wait waits."),
        _flag("--abort-on-container-exit", help="Stop everything when one container ends."),
        _flag("--abort-on-container-failure", help="Stop everything when one container fails."),
        click.Option(["--exit-code-from"], metavar="SERVICE", help="End with this service's exit status; stops all at the first end."),
        click.Option(["--attach"], multiple=True, metavar="SERVICE", help="Show the output of these services only."),
        click.Option(["--no-attach"], multiple=True, metavar="SERVICE", help="Do not show the output of these services."),
        _flag("--no-color", help="Show services in no colour."),
        _flag("--no-log-prefix", help="Show no service before its lines."),
        _flag("--timestamps", help="Show when each line was written."),
        _flag("--quiet-build", help="Show no progress of builds."),
        _flag("-w", "--watch", help="Follow the files that develop.watch names."),
        _TIMEOUT,
        SERVICES,
    ),
    "down": _command(
        "down",
        _down,
        _flag("-v", "--volumes", help="Remove the volumes that it made, too."),
        _flag("--remove-orphans", help="Remove containers of services that the file has no more."),
        click.Option(["--rmi"], type=click.Choice(["all", "local"]), help="Remove images: all, or those without a name in the file."),
        _TIMEOUT,
        SERVICES,
    ),
    "create": _command("create", _create, *_MAKING, SERVICES),
    "start": _command("start", _start, SERVICES),
    "stop": _command("stop", _stop, _TIMEOUT, SERVICES),
    "restart": _command("restart", _restart, _flag("--no-deps", help="Leave those alone that restart with them."), _TIMEOUT, SERVICES),
    "kill": _command(
        "kill",
        _kill,
        click.Option(["-s", "--signal"], default="SIGKILL", show_default=True, help="Signal to send."),
        _flag("--remove-orphans", help="Remove containers of services that the file has no more."),
        SERVICES,
    ),
    "pause": _command("pause", _pause, SERVICES),
    "unpause": _command("unpause", _unpause, SERVICES),
    "rm": _command(
        "rm",
        _rm,
        _flag("-f", "--force", help="Do not ask (never asked here)."),
        _flag("-s", "--stop", help="Stop them first."),
        _flag("-v", "--volumes", help="Remove their anonymous volumes too."),
        SERVICES,
    ),
    "scale": _command(
        "scale",
        _scale,
        _flag("--no-deps", help="Leave out what the services depend on."),
        click.Argument(["counts"], nargs=-1, required=True, metavar="SERVICE=NUMBER..."),
    ),
    "wait": _command("wait", _wait, _flag("--down-project", help="Take the project down when they have ended."), SERVICES),
    "watch": _command(
        "watch",
        _watch,
        _flag("--no-up", help="Do not build and start the services first."),
        _flag("--quiet", help="Do not show how they are built and started."),
        click.Option(["--prune/--no-prune"], default=True, help="Remove what a rebuild leaves without a name."),
        SERVICES,
    ),
}

"""``run`` and ``create``: Docker's flags to the engine's keywords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from notebook_containers.commands.ending import ended
from notebook_containers.commands.face import STREAMS, Face, detach_keys, face
from notebook_containers.commands.flags import OPTIONS
from notebook_containers.commands.given import attached, keywords, text, wants_stdin
from notebook_containers.commands.moving import perhaps_pulling
from notebook_containers.commands.results import Ended, Result, Started
from notebook_containers.errors import Conflict, ContainerNotFound, InvalidArgument, StartFailed

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.opened import OpenedStep
    from notebook_containers.runtime.expected import Expected
    from notebook_containers.runtime.sessions import Session

_DASH_C = ("sh", "bash", "dash", "ash", "zsh", "ksh", "python", "python3")
GRAMMAR = {"allow_interspersed_args": False, "help_option_names": ["--help"]}


def _make(face_: Face, image: str, command: list[str], given: Mapping[str, object], expected: Expected | None = None) -> Container:
    options, cidfile = keywords(face_, given), text(given, "cidfile")
    detach_keys(text(given, "detach_keys"))  # a wrong word is told before anything is made
    if cidfile and (face_.cwd / cidfile).exists():
        raise InvalidArgument(f"the file {cidfile!r} of --cidfile is there already", hint="remove it when its container is gone")
    opened = _opened(face_, image, given)
    with perhaps_pulling(face_, image, quiet=bool(given["quiet"])) as progress:
        from notebook_containers.engine.options import container_options

        checked = container_options(command or None, options)
        container = face_.engine.containers.create_from(opened.image() if opened else image, checked, progress=progress, expected=expected)
    if cidfile:
        try:
            (face_.cwd / cidfile).write_text(container.id)
        except OSError as err:
            _remove(container)
            raise InvalidArgument(f"the file {cidfile!r} of --cidfile cannot be written: {err.strerror}") from err
    return container


def _opened(face_: Face, image: str, given: Mapping[str, object]) -> OpenedStep | None:
    return face_.engine.images.get(image).step(int(text(given, "step"))) if text(given, "step") else None


def _create(image: str, command: tuple[str, ...], **given: object) -> Result:
    """Make a container without starting it."""
    return Started(container=_make(face(), image, list(command), given))


def _run(image: str, command: tuple[str, ...], *, detach: bool, **given: object) -> Result:
    """Run a command in a new container."""
    here = face()
    if detach and attached(given):
        raise InvalidArgument("--attach contradicts --detach", hint="leave out -a or -d")
    words = list(command)
    if here.cell is not None:
        words = _script(here, given, words)
    if not detach:
        here.check_terminal(stdin=bool(given["interactive"]), tty=bool(given["tty"]))
    try:
        with here.engine.containers.expect() as expected:
            container = _make(here, image, words, given, expected)
            session = _start(container, given, detach=detach)
        with _nothing_left(container):
            if detach:
                for warning in container.warnings:
                    here.note(warning)
                return Started(container=container)
            return _foreground(here, container, session, given)
    finally:
        if opened := _opened(here, image, given):  # the step's image goes with its container
            opened.forget(opened.image())


def _start(container: Container, given: Mapping[str, object], *, detach: bool) -> Session | None:
    with _nothing_left(container):
        try:
            return container.start_attached(attach=not detach, stdin=wants_stdin(given) and not detach)
        except StartFailed as err:
            # as with docker it stays, with its verdict, to be looked at (unless --rm); what else keeps it from starting leaves nothing
            if err.exit_status == 125:
                _remove(container)
            raise


@contextmanager
def _nothing_left(container: Container) -> Iterator[None]:
    """Take the container away when the block fails, if it is to go at its end, or was never started for another reason than its command."""
    try:
        yield
    except BaseException as err:
        if container.document.options.auto_remove or (not isinstance(err, StartFailed) and container.status == "created"):
            _remove(container)
        raise


def _foreground(here: Face, container: Container, session: Session | None, given: Mapping[str, object]) -> Ended:
    if session is None:
        raise Conflict(f"container {container.name} was started by someone else", hint=f"see nbc logs {container.name}")
    with session:
        for warning in container.warnings:
            here.note(warning)
        here.pump(
            session,
            container,
            stdin=wants_stdin(given),
            tty=bool(given["tty"]),
            streams=attached(given) or STREAMS,
            detach_keys=detach_keys(text(given, "detach_keys")),
            sig_proxy=given["sig_proxy"] is not False,
        )
        code = session.exit_code
    result = ended(container, code)
    if code is not None and container.document.options.auto_remove:
        _remove(container)
    return result


def _remove(container: Container) -> None:
    try:
        container.remove(force=True)
    except ContainerNotFound:
        return


def _script(here: Face, given: Mapping[str, object], words: list[str]) -> list[str]:
    import shlex

    interpreter = shlex.split(text(given, "interpreter") or "sh")
    name = interpreter[0].rpartition("/")[2]
    if name.rstrip("0123456789.") not in _DASH_C and name not in _DASH_C:
        raise InvalidArgument(f"interpreter {interpreter[0]!r} is not known to take a script with -c", hint="use sh, bash or python3")
    return [*interpreter, "-c", here.cell or "", name, *words]


_DETACH = click.Option(["-d", "--detach"], is_flag=True, help="Run in the background and print the container id.")
_STEP = click.Option(["--step"], type=int, metavar="N", help="Start from the image's step N: its files and config as they were then.")
_INTERPRETER = click.Option(["--interpreter"], default="sh", show_default=True, help="What runs the cell's text: sh, bash, python3.")
_ARGUMENTS = (click.Argument(["image"]), click.Argument(["command"], nargs=-1, type=click.UNPROCESSED))

COMMANDS: Mapping[str, click.Command] = {
    "run": click.Command("run", callback=_run, params=[_DETACH, _STEP, *OPTIONS, *_ARGUMENTS], context_settings=GRAMMAR, help=_run.__doc__),
    "create": click.Command(
        "create", callback=_create, params=[_STEP, *OPTIONS, *_ARGUMENTS], context_settings=GRAMMAR, help=_create.__doc__
    ),
    "cell": click.Command(
        "container_run",
        callback=_run,
        params=[_DETACH, _INTERPRETER, _STEP, *OPTIONS, *_ARGUMENTS],
        context_settings={"help_option_names": ["--help"]},
        help="Run the cell's text as a script in a new container.",
    ),
}

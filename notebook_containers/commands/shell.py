"""The verb shell: a shell in a container, or in the step of a build that failed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from notebook_containers.commands.ending import ended
from notebook_containers.commands.face import Face, face
from notebook_containers.commands.results import Ended, Result, Started
from notebook_containers.commands.run import GRAMMAR
from notebook_containers.errors import Conflict

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.opened import OpenedStep


def _shell(words: tuple[str, ...], *, failed: bool) -> Result:
    """Open a shell (or run a command) in a running container, or with --failed where the last failing build stopped."""
    here = face()
    if failed:
        step = here.engine.images.failed()
        here.note(f"this is {step.instruction} (line {step.line}) as it was left; what is changed here is thrown away")
        return enter(here, step, words)
    if not words:
        raise click.UsageError("name a container, or use --failed for the step of a build that failed")
    container, command = here.engine.containers.get(words[0]), words[1:] or ("sh",)
    tty = _has_terminal(here)
    with container.exec_session(command, tty=tty, stdin=here.streams) as session:  # type: ignore[union-attr]
        here.pump(session, container, stdin=here.streams, tty=tty)
    return Ended(exit_code=session.exit_code or 0, what=f"{' '.join(command)} in {container.name}", container_id=container.id)


def enter(here: Face, step: OpenedStep, words: tuple[str, ...]) -> Result:
    """Run a shell or a command on a step's files until it ends; without a terminal's input a shell stays open in the background."""
    if not here.streams and not words:
        container = step.run(detach=True)
        here.note("a cell has no terminal: the container waits for %container_exec, and is gone after %container_rm -f")
        return Started(container=container)  # type: ignore[arg-type]
    image = step.image()
    try:
        stdin, tty = here.streams, _has_terminal(here)
        container = here.engine.containers.create(image.id, list(words) or None, tty=tty, stdin_open=stdin, auto_remove=True)
        return _until_its_end(here, container, stdin=stdin, tty=tty)
    finally:
        step.forget(image)


def _until_its_end(here: Face, container: Container, *, stdin: bool, tty: bool) -> Ended:
    try:
        session = container.start_attached(stdin=stdin)
        if session is None:
            raise Conflict(f"container {container.name} was started by someone else", hint=f"see nbc logs {container.name}")
        with session:
            here.pump(session, container, stdin=stdin, tty=tty)
        return ended(container, session.exit_code)
    finally:
        container.remove(force=True)


def _has_terminal(here: Face) -> bool:
    return here.streams and sys.stdin.isatty() and sys.stdout.isatty()


COMMANDS: Mapping[str, click.Command] = {
    "shell": click.Command(
        "shell",
        callback=_shell,
        help=_shell.__doc__,
        context_settings=GRAMMAR,
        params=[
            click.Option(["--failed"], is_flag=True, help="Open the step at which the last failing build stopped."),
            click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, metavar="[CONTAINER] [COMMAND]..."),
        ],
    ),
}

"""``nbc``: Docker's grammar on the command line, Docker's exit statuses."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Mapping, Sequence

from notebook_containers.errors import Error, SourceError, StartFailed
from notebook_containers.runtime.starter import Starter

_ENGINE_ERROR = 125
_OWN: Mapping[str, str] = {
    "demo": "notebook_containers.cli.lessons",
    "lab": "notebook_containers.cli.lessons",
    "runtime": "notebook_containers.cli.runtime",
}
_STARTING = frozenset({"run", "start", "exec", "restart", "build"})
_STARTING_PROJECTS = _STARTING | {"up", "scale", "watch"}
# verbs that take an unused bridge away; after the others it stays, since the next run would only make it again, in a tenth of a second
_ENDING = frozenset({"rm", "stop", "kill", "prune", "down"})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    gc.set_threshold(50_000, 20, 20)  # importing makes many objects that stay: looking through them again and again costs 12 ms
    words = list(sys.argv[1:] if arguments is None else arguments)
    status = run(words)
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    if not others and not _OWN.keys() & words[:1]:
        _leave(status)
    sys.exit(status)


def _leave(status: int) -> None:
    """End this process without taking its hundreds of modules apart, which takes longer than most verbs do."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # nobody reads it any more: the interpreter's own way knows how to end then
    os._exit(status)


def run(words: list[str]) -> int:
    """Run one command and return its exit status; everything went to the standard streams."""
    starter = Starter(leaving=True)
    if _STARTING.intersection(words[:2]) or (words[:1] == ["compose"] and _STARTING_PROJECTS.intersection(words)):
        # the spawner's interpreter starts on another processor while this one imports the rest, which takes about as long
        _warm(starter)
    import click

    from notebook_containers.cli import render
    from notebook_containers.cli.face import TerminalFace
    from notebook_containers.commands.tree import root

    face = TerminalFace(starter, tidy=bool(_ENDING.intersection(words[:3])))
    try:
        result = root(_OWN).main(args=words, prog_name="nbc", standalone_mode=False, obj=face)
        return render.show(result)
    except click.exceptions.Exit as err:
        return err.exit_code
    except click.ClickException as err:
        command = f"\nSee '{err.ctx.command_path} --help'." if isinstance(err, click.UsageError) and err.ctx else ""
        print(f"nbc: {err.format_message()}{command}", file=sys.stderr)
        return _ENGINE_ERROR
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except Error as err:
        return _failed(err, words)
    finally:
        face.close()


def _warm(starter: Starter) -> None:
    try:
        starter.warm()
    except Error:
        return  # the engine tries again, and its error is told


def _failed(err: Error, words: Sequence[str]) -> int:
    if isinstance(err, SourceError) and err.excerpt():
        print(err.excerpt(), file=sys.stderr)
    print(f"nbc: {err.one_line()}", file=sys.stderr)
    if isinstance(err, StartFailed) or any(word in ("run", "create") for word in words[:2]):
        return err.exit_status
    return 1

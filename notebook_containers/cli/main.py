"""``nbc``: Docker's grammar on the command line, Docker's exit statuses."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from notebook_containers.cli import render
from notebook_containers.cli.face import TerminalFace
from notebook_containers.cli.lessons import COMMANDS
from notebook_containers.commands.tree import root
from notebook_containers.errors import Error, SourceError, StartFailed

_ENGINE_ERROR = 125


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(words))


def run(words: list[str]) -> int:
    """Run one command and return its exit status; everything went to the standard streams."""
    face = TerminalFace()
    try:
        result = root(COMMANDS).main(args=words, prog_name="nbc", standalone_mode=False, obj=face)
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


def _failed(err: Error, words: Sequence[str]) -> int:
    if isinstance(err, SourceError) and err.excerpt():
        print(err.excerpt(), file=sys.stderr)
    print(f"nbc: {err.one_line()}", file=sys.stderr)
    if isinstance(err, StartFailed) or any(word in ("run", "create") for word in words[:2]):
        return err.exit_status
    return 1

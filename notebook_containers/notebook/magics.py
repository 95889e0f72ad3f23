"""The magics: ``%container <any nbc command line>``, ``%container_<verb>`` for each verb, ``%%dockerfile`` and ``%%container_run``.

A magic parses nothing itself: the line goes to the same click command as the command line's, the result to :mod:`.display`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

import click
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, magics_class, no_var_expand

from notebook_containers.commands import booleans
from notebook_containers.commands.tree import ROOT, root
from notebook_containers.errors import Error, SourceError
from notebook_containers.notebook import display
from notebook_containers.notebook.face import NotebookFace

_ALONE: Mapping[tuple[str, ...], tuple[str, ...]] = {("network",): ("graph",)}
"""What a group of verbs shows in a notebook when none is named."""
_PLACEHOLDER = re.compile(r"(?<!\{)\{([A-Za-z_][A-Za-z0-9_.]*)\}(?!\})")


@magics_class
class ContainerMagics(Magics):
    """Containers in a notebook, with Docker's words."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.face = NotebookFace()
        self._names = shell.user_ns
        super().__init__(shell)
        line = {"container": self._line(()), **{f"container_{verb}": self._line((verb,)) for verb in ROOT}}
        cell = {"dockerfile": self._cell(("build",), usage="%%dockerfile"), "container_run": self._cell_run()}
        cell["compose"] = self._cell_compose()
        line["compose"] = self._line(("compose",))
        self.magics = {"line": line, "cell": cell}
        self.registered = True

    def _line(self, prefix: tuple[str, ...]) -> Callable[..., object]:
        @no_var_expand
        def magic(line: str) -> object:
            words = [*prefix, *self._words(line)]
            return self.execute([*words, *_ALONE.get(tuple(words), ())], cell=None, line=line)

        magic.__doc__ = _help(prefix)
        return magic

    def _cell(self, prefix: tuple[str, ...], *, usage: str) -> Callable[..., object]:
        @no_var_expand
        def magic(line: str, cell: str) -> object:
            return self.execute([*prefix, *self._words(line)], cell=cell)

        magic.__doc__ = f"{usage} [OPTIONS]: the cell's text is the file.\n\n{_help(prefix)}"
        return magic

    def _cell_run(self) -> Callable[..., object]:
        @no_var_expand
        def magic(line: str, cell: str) -> object:
            from notebook_containers.commands import run

            return self.execute(self._words(line), cell=cell, command=run.COMMANDS["cell"])

        magic.__doc__ = "%%container_run IMAGE [OPTIONS]: run the cell's text as a script of the container's shell.\n\n" + _help(("run",))
        return magic

    def _cell_compose(self) -> Callable[..., object]:
        @no_var_expand
        def magic(line: str, cell: str) -> object:
            from notebook_containers.commands import compose

            words = compose.with_verb(self._words(line))
            self.face.project_text, self.face.project_name = cell, compose.project_name(words)
            return self.execute(["compose", *words], cell=cell)

        magic.__doc__ = (
            "%%compose [UP OPTIONS]: the cell's text is the compose file, and the project is brought up.\n\n"
            "The lines %compose ps, %compose logs, %compose down … that follow are about it.\n\n" + _help(("compose", "up"))
        )
        return magic

    def _words(self, line: str) -> list[str]:
        """Split as a shell does, and fill ``{name}`` and ``{name.attribute}`` of the notebook's variables in (never ``{{…}}``)."""
        try:
            words = shlex.split(line)
        except ValueError as err:
            raise UsageError(f"the line has an unclosed quote: {line}") from err
        return [_PLACEHOLDER.sub(self._variable, word) for word in words]

    def _variable(self, match: re.Match[str]) -> str:
        name, *attributes = match[1].split(".")
        if name not in self._names:
            return match[0]
        value = self._names[name]
        for attribute in attributes:
            value = getattr(value, attribute)
        return str(value)

    def execute(self, words: list[str], *, cell: str | None, line: str = "", command: click.Command | None = None) -> object:
        """Run one command line; errors become one line without a traceback, and stop the cells behind."""
        words, name = _take(words, "--out")
        raise_error = "--no-raise-error" not in words
        words = [w for w in words if w != "--no-raise-error"]
        self.face.begin(cell, line)
        try:
            target = command or root()
            result = target.main(args=booleans.plain(target, words), prog_name=_program(command), standalone_mode=False, obj=self.face)
            shown = display.show(result, self.face, raise_error=raise_error)
        except click.exceptions.Exit:
            return None
        except click.Abort:  # what click makes of an interrupt
            raise KeyboardInterrupt from None
        except click.ClickException as err:
            raise UsageError(err.format_message()) from None
        except Error as err:
            raise one_line(err) from None
        if name:
            self._names[name] = display.value(result, shown)
        return shown


def _program(command: click.Command | None) -> str:
    return f"%%{command.name}" if command else "%container"


def _take(words: list[str], option: str) -> tuple[list[str], str]:
    """Take ``--out NAME`` out of the words."""
    if option not in words:
        return words, ""
    index = words.index(option)
    if index + 1 >= len(words) or not words[index + 1].isidentifier():
        raise UsageError(f"{option} needs the name of a variable")
    return [*words[:index], *words[index + 2 :]], words[index + 1]


def one_line(err: Error) -> Error:
    """Make IPython show this error as its one line (with the source line where there is one) instead of a traceback."""
    lines = [f"{type(err).__name__}: {err.message}"]
    if isinstance(err, SourceError) and err.excerpt():
        lines = [*err.excerpt().splitlines(), *lines]
    if err.hint:
        lines.append(f"hint: {err.hint}")
    vars(err)["_render_traceback_"] = lambda: lines
    return err


def _help(prefix: tuple[str, ...]) -> str:
    """Return a verb's docstring: ``%container_run?`` shows where the options are listed, without importing every verb on load."""
    words = " ".join(prefix) or "COMMAND"
    magic = "_".join(("container", *prefix))
    return f"The same as 'nbc {words} ...' on the command line.\n\n'%{magic} --help' lists the options."

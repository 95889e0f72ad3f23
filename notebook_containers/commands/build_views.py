"""``--progress``: which view shows a build, by the word and by what the output is."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TextIO

from notebook_containers.commands.blocks import moves
from notebook_containers.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from notebook_containers.build.progress import Event

MODES = ("auto", "plain", "tty", "quiet", "rawjson")
"""Docker's words: ``auto`` is ``tty`` on a terminal and ``plain`` elsewhere."""


def build_view(mode: str, out: TextIO) -> AbstractContextManager[Callable[[Event], None]]:
    """Return the view of a mode over ``out``; raises InvalidArgument for ``tty`` where there is no terminal."""
    if mode == "quiet":
        return nullcontext(_nothing)
    if mode == "rawjson":
        from notebook_containers.commands.raw_builds import RawBuildView

        return RawBuildView(out)
    if mode == "tty" and not moves(out):
        raise InvalidArgument("--progress tty: there is no terminal that can move its cursor", hint="use --progress plain")
    if mode == "tty" or (mode == "auto" and moves(out)):
        from notebook_containers.commands.terminal_builds import TerminalBuildView

        return TerminalBuildView(out)
    from notebook_containers.commands.progress import PlainBuildView

    return PlainBuildView(out)


def _nothing(event: Event) -> None:
    del event

"""What a verb needs of the face that called it: the engine, a place for streams, a view for builds, and the cell's text."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from notebook_containers.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from notebook_containers.build.progress import Event
    from notebook_containers.commands.compose_board import Board
    from notebook_containers.commands.transfers import Verb
    from notebook_containers.compose.progress import Told
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.engine import Engine
    from notebook_containers.registry.progress import TransferEvent
    from notebook_containers.runtime.sessions import Session


STREAMS: Collection[str] = ("stdout", "stderr")
DETACH_KEYS = b"\x10\x11"
"""Ctrl-P Ctrl-Q."""


class Face(Protocol):
    """Implemented by the command line and by the notebook."""

    cell: str | None
    project_text: str | None
    """The text of the compose cell that was run last: what verbs are about that name no file. None where there was no such cell."""
    project_name: str
    """The name that cell gave its project; empty for the usual one."""
    streams: bool
    """Whether output without an end may be shown (a terminal waits for more, a cell shows what there is)."""
    colours: bool
    """Whether colours may be shown."""
    adds_up_sizes: bool
    """Whether listings say the bytes of writable layers unasked (a DataFrame does, a table only when its column is shown)."""

    @property
    def engine(self) -> Engine:
        """The engine, opened on first use."""

    @property
    def cwd(self) -> Path:
        """The directory relative paths and build contexts start from."""

    def write(self, stream: str, data: bytes) -> None:
        """Show output of a container; ``stream`` is stdout or stderr."""

    def variable(self, name: str) -> object:
        """Return the value of a variable of the notebook; raises InvalidArgument where there is none."""

    def note(self, text: str) -> None:
        """Show a warning, one line."""

    def take_secret(self, secret: str) -> None:
        """Warn of a password in a command line, or raise InvalidArgument where it would be kept for everybody to read."""

    def check_terminal(self, *, stdin: bool, tty: bool) -> None:
        """Raise InvalidArgument, before anything is started, when this face cannot give a process what :meth:`pump` would need."""

    def pump(
        self,
        session: Session,
        container: Container,
        *,
        stdin: bool,
        tty: bool,
        streams: Collection[str] = STREAMS,
        detach_keys: bytes = DETACH_KEYS,
        sig_proxy: bool = True,
    ) -> None:
        """Relay a session until it ends or the user detaches; output of other ``streams`` is dropped.

        An interrupt (on the command line every signal) is passed on to the container; without ``sig_proxy`` it detaches.
        """

    def build_view(self, mode: str) -> AbstractContextManager[Callable[[Event], None]]:
        """Return a view of a build's progress; ``mode`` is a word of ``build_views.MODES``."""

    def project_view(self, board: Board, *, quiet: bool) -> AbstractContextManager[Callable[[Told], None]]:
        """Return a view of what is done with a project, to be called from any thread; of ``quiet`` only warnings are left."""

    def transfer_view(self, verb: Verb, subject: str, *, quiet: bool) -> AbstractContextManager[Callable[[TransferEvent], None]]:
        """Return a view of images on their way, to be called from any thread; ``subject`` is what the person named."""


def detach_keys(text: str) -> bytes:
    """Return the bytes of ``ctrl-p,ctrl-q`` or ``a,b`` as a terminal sends them; Docker's default for an empty text."""
    keys = [_key(word) for word in text.split(",")] if text else []
    return bytes(keys) or DETACH_KEYS


def _key(word: str) -> int:
    name = word.lower().removeprefix("ctrl-")
    control = name != word.lower()
    if len(name) == 1 and name.isascii() and (not control or "@" <= name.upper() <= "_"):
        return ord(name.upper()) & 0x1F if control else ord(word)
    raise InvalidArgument(f"--detach-keys: {word!r} is no key", hint="write letters or ctrl- with a letter, as ctrl-a,d")


def face() -> Face:
    """Return the face of the command that is being executed."""
    found: Face = click.get_current_context().find_root().obj
    return found

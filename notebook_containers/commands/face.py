"""What a verb needs of the face that called it: the engine, a place for streams, a view for builds, and the cell's text."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from notebook_containers.build.progress import Event
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.engine import Engine
    from notebook_containers.runtime.sessions import Session


class Face(Protocol):
    """Implemented by the command line and by the notebook."""

    cell: str | None
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

    def note(self, text: str) -> None:
        """Show a warning, one line."""

    def pump(self, session: Session, container: Container, *, stdin: bool, tty: bool) -> None:
        """Relay a session until it ends or the user detaches; an interrupt is passed on to the container."""

    def build_view(self, mode: str) -> AbstractContextManager[Callable[[Event], None]]:
        """Return a view of a build's progress; ``mode`` is auto, plain or quiet."""


def face() -> Face:
    """Return the face of the command that is being executed."""
    found: Face = click.get_current_context().find_root().obj
    return found

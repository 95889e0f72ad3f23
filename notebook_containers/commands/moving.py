"""Images that a verb moves: shown while they do, by the face's view; what is to be told of them afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notebook_containers.commands.face import Face
    from notebook_containers.commands.transfers import Verb
    from notebook_containers.registry.progress import TransferDone, TransferEvent


class Outcome:
    """Passes events on to a view, and keeps what is told when a transfer has ended: how each image came through, every remark once."""

    def __init__(self, view: Callable[[TransferEvent], None]) -> None:
        self._view = view
        self.done: list[TransferDone] = []
        self.notes: dict[str, None] = {}

    def take(self, event: TransferEvent) -> None:
        """Take an event; called from several threads."""
        from notebook_containers.registry.progress import TransferDone, TransferNote  # most runs need no pull

        self._view(event)
        if isinstance(event, TransferDone):
            self.done.append(event)
        elif isinstance(event, TransferNote):
            self.notes[event.message] = None


@contextmanager
def moving(here: Face, verb: Verb, image: str, *, quiet: bool) -> Iterator[Outcome]:
    """Show a transfer from now on, to its end; the remarks come below it."""
    notes: dict[str, None] = {}
    try:
        with here.transfer_view(verb, image, quiet=quiet) as view:
            found = Outcome(view)
            notes = found.notes
            yield found
    finally:
        _tell(here, notes)


@contextmanager
def perhaps_pulling(here: Face, image: str, *, quiet: bool) -> Iterator[Callable[[TransferEvent], None]]:
    """Show a pull that may not be needed: from its first event on, as if the caller had begun to show it then."""
    context, lock, held = copy_context(), threading.Lock(), ExitStack()
    found: list[Outcome] = []

    def take(event: TransferEvent) -> None:
        with lock:
            if not found:  # in a thread of the pull, where a notebook would not know which cell it belongs to
                found.append(context.run(held.enter_context, moving(here, "pull", image, quiet=quiet)))
        found[0].take(event)

    with held:
        yield take


def _tell(here: Face, notes: dict[str, None]) -> None:
    from notebook_containers.commands.text import one_line

    for note in notes:
        here.note(one_line(note, limit=1000))

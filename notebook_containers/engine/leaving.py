"""Networks on their way out: a process that is killed between the record and the bridge leaves a note, and the next one finishes.

The record goes first, because it is what keeps others from coming in. The note lies where bridges live: it is gone after a restart too.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from notebook_containers.engine.network_document import config_of, parse
from notebook_containers.errors import Conflict, InvalidDocument, NetworkError, NetworkNotFound

if TYPE_CHECKING:
    from pathlib import Path

    from notebook_containers.engine.bridges import Bridges
    from notebook_containers.engine.parts import Parts


def forget(parts: Parts, network_id: str) -> None:
    """Remove a network's record, and leave a note of its bridge; Conflict, and nothing is changed, when containers hold addresses in it."""
    note = _place(parts) / network_id
    note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    note.write_text(parts.store.records.network(network_id).document, encoding="utf-8")
    try:
        parts.store.records.remove_network(network_id)
    except Conflict:
        note.unlink(missing_ok=True)
        raise


def finish(parts: Parts, bridges: Bridges, network_id: str) -> None:
    """Take the bridge of a forgotten network away; nothing happens without a note of it. Idempotent, beside others too."""
    note = _place(parts) / network_id
    with suppress(FileNotFoundError, InvalidDocument):  # another was quicker; or a kill came while the note was written
        bridges.remove(config_of(parse(note.read_text(encoding="utf-8"))))
    note.unlink(missing_ok=True)


def finish_all(parts: Parts, bridges: Bridges) -> None:
    """Take the bridges away whose networks are forgotten already, because who removed them was killed."""
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = os.listdir(_place(parts))
    for name in names:
        if not _is_known(parts, name):  # else it is about to go, or was to go when a kill came: it stays until somebody removes it
            with suppress(NetworkError):  # the next one tries again: whoever is here came for something else
                _finish_ours(parts, bridges, name)


def _finish_ours(parts: Parts, bridges: Bridges, name: str) -> None:
    try:
        finish(parts, bridges, name)
    except Conflict:  # the link has another network's bridge by now
        (_place(parts) / name).unlink(missing_ok=True)


def _is_known(parts: Parts, network_id: str) -> bool:
    try:
        parts.store.records.network(network_id)
    except NetworkNotFound:
        return False
    return True


def _place(parts: Parts) -> Path:
    return parts.run / "leaving"

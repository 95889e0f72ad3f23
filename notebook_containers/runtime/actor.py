"""Events in a container's own name, written by whoever sees them happen: its monitor, an exec's parent, an engine.

The bundle's ``actor.json`` says who the container is at this moment: ``id``, ``attributes`` (labels, image, name) and, while it is in some,
its ``networks`` (``id`` and attributes). A bundle without one, such as a build step's, makes no events.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from notebook_containers.runtime import document
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.journal import Journal

FILE = "actor.json"


class Actor:
    """The container of a bundle; ``run`` is its directory ``<run directory>/c/<id>``."""

    __slots__ = ("_bundle", "_journal")

    def __init__(self, run: str, bundle: str) -> None:
        self._bundle = bundle
        self._journal = Journal(os.path.dirname(os.path.dirname(run)))

    def tell(self, action: str, more: Mapping[str, object] | None = None) -> None:
        """Write one event; a bundle without an actor makes none. Read anew each time: the container may have been renamed."""
        who = self._read()
        if who:
            identity = document.text(who, "id")
            self._journal.append("container", action, identity, {**document.table(who, "attributes"), **(more or {})})

    def leave_networks(self) -> None:
        """Write that the container is no longer in its networks, if it was in some."""
        who = self._read()
        for network in document.tables(who, "networks"):
            attributes = {**document.table(network, "attributes"), "container": document.text(who, "id")}
            self._journal.append("network", "disconnect", document.text(network, "id"), attributes)

    def _read(self) -> Table:
        try:
            return document.read(os.path.join(self._bundle, FILE))
        except (OSError, ValueError):
            return {}

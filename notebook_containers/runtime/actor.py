"""Events in a container's own name, written by whoever sees them happen: its monitor, an exec's parent, an engine.

The bundle's ``actor.json`` says who the container is at this moment: ``id``, ``attributes`` (labels, image, name), its ``volumes`` if it
has any and, while it is in some, its ``networks`` (each with ``id`` and attributes). A bundle without one, such as a build step's, makes no
events.
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

    __slots__ = ("_bundle", "_journal", "_mounted")

    def __init__(self, run: str, bundle: str) -> None:
        self._bundle = bundle
        self._journal = Journal(os.path.dirname(os.path.dirname(run)))
        self._mounted = False

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

    def mount_volumes(self) -> None:
        """Write that the container has its volumes now."""
        self._mounted = True
        who = self._read()
        for volume in document.tables(who, "volumes"):
            attributes = {**document.table(volume, "attributes"), "container": document.text(who, "id")}
            self._journal.append("volume", "mount", document.text(volume, "id"), attributes)

    def unmount_volumes(self) -> None:
        """Write that the container has its volumes no longer, if :meth:`mount_volumes` wrote the other."""
        who = self._read() if self._mounted else {}
        self._mounted = False
        for volume in document.tables(who, "volumes"):
            self._journal.append(
                "volume", "unmount", document.text(volume, "id"), {"container": document.text(who, "id"), "driver": "local"}
            )

    def _read(self) -> Table:
        try:
            return document.read(os.path.join(self._bundle, FILE))
        except (OSError, ValueError):
            return {}

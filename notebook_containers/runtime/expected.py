"""A container that an engine is about to make and start, told bit by bit to the process that will be its monitor (:mod:`.ahead`).

Nothing depends on it: what was told is used when it fits the container that is asked for in the end, and is undone otherwise.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from notebook_containers.oci.runtime import Mount, Spec

FILESYSTEMS = ("proc", "sysfs", "mqueue", "devpts", "tmpfs")
"""What is mounted anew for each container, needs only the container's namespaces, and costs little."""

_MOST_BYTES = 1 << 16


class Expectations:
    """The expected containers of one engine: one at a time is told of, since a stranger's request may come in between. Thread-safe."""

    def __init__(self, tell: Callable[[bytes], None]) -> None:
        self._tell, self._busy = tell, threading.Lock()

    def begin(self) -> Expected:
        """Say that a container is about to come; end it with :meth:`Expected.end`, in a ``with`` for instance."""
        told = self._busy.acquire(blocking=False)
        if told:
            self._tell(b"soon")
        return Expected(self._tell if told else None, self._busy)


class Expected:
    """One of them; without ``tell`` nobody hears of it."""

    __slots__ = ("_bundle", "_busy", "_tell")

    def __init__(self, tell: Callable[[bytes], None] | None, busy: threading.Lock) -> None:
        self._tell, self._busy, self._bundle = tell, busy, ""

    def __enter__(self) -> Expected:
        return self

    def __exit__(self, kind: object, *_rest: object) -> None:
        self.end(made=kind is None)

    def root(self, bundle: Path, mounts: Sequence[Mount]) -> None:
        """Tell where its bundle will be, and what its root: first of all, for it takes longest.

        These mounts must not be the bundle's very own: they may be made and thrown away.
        """
        self._bundle = os.fspath(bundle)
        self._say(b"root", {"mounts": [mount.to_json() for mount in mounts]})

    def described(self, spec: Spec) -> None:
        """Tell which new filesystems and which cgroup it will have, with which limits."""
        new = {str(number): mount.to_json() for number, mount in enumerate(spec.mounts) if mount.type in FILESYSTEMS}
        self._say(b"mounts", {"new": new})
        linux = spec.linux
        if linux is not None and linux.cgroups_path:
            self._say(b"group", {"path": linux.cgroups_path, "resources": linux.resources.to_json() if linux.resources else {}})

    def written(self) -> None:
        """Tell that its bundle is there."""
        self._say(b"bundle", {})

    def end(self, *, made: bool) -> None:
        """Expect it no longer: it was ``made``, or it will not be. Idempotent."""
        tell, self._tell = self._tell, None
        if tell is not None:
            if not made:
                tell(b"never")
            self._busy.release()

    def _say(self, word: bytes, value: dict[str, object]) -> None:
        if self._tell is not None and self._bundle:
            message = word + b" " + json.dumps({"bundle": self._bundle, **value}).encode()
            if len(message) <= _MOST_BYTES:
                self._tell(message)

"""A container that an engine is about to make and start, told bit by bit to the process that will be its monitor (:mod:`.ahead`).

Nothing depends on it: what was told is used when it fits the container that is asked for in the end, and is undone otherwise.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from notebook_containers.linux import processors
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.runtime import Mount, Resources
from notebook_containers.runtime import wire


class Expectations:
    """The expected containers of one engine: one at a time is told of, since a stranger's request may come in between. Thread-safe."""

    def __init__(self, tell: Callable[[bytes], None], forget: Callable[[str], None]) -> None:
        self._tell, self._forget, self._busy = tell, forget, threading.Lock()

    def begin(self) -> Expected:
        """Say that a container is about to come; end it with :meth:`Expected.end`, in a ``with`` for instance."""
        told = self._busy.acquire(blocking=False)
        if told:
            self._tell(b"soon %d" % processors.current())
        return Expected(self._tell if told else None, self._forget, self._busy)


class Expected:
    """One of them; without ``tell`` nobody hears of it."""

    __slots__ = ("_bundle", "_busy", "_forget", "_path", "_tell")

    def __init__(self, tell: Callable[[bytes], None] | None, forget: Callable[[str], None], busy: threading.Lock) -> None:
        self._tell, self._forget, self._busy = tell, forget, busy
        self._bundle = self._path = ""

    def __enter__(self) -> Expected:
        return self

    def __exit__(self, kind: object, *_rest: object) -> None:
        self.end(made=kind is None)

    def group(self, bundle: Path, path: str, resources: Resources) -> None:
        """Tell where its bundle will be, and which cgroup it will have, with which limits: first of all, for it takes longest."""
        self._bundle, self._path = os.fspath(bundle), path
        self._say(b"group", {"path": path, "resources": resources.to_json()})

    def root(self, mounts: Sequence[Mount]) -> None:
        """Tell what its root will be; these mounts must not be the bundle's very own, for they may be made and thrown away."""
        self._say(b"root", {"mounts": [mount.to_json() for mount in mounts]})

    def bundle(self, config: JSON, options: Mapping[str, object], mounts: Sequence[Mount], program: bytes) -> None:
        """Tell all that is about to be written of its bundle: what its parts say, and its seccomp program."""
        parts = {"config": config, "options": options, "mounts": [mount.to_json() for mount in mounts]}
        self._say(b"bundle", {**parts, "seccomp": base64.b64encode(program).decode()})

    def end(self, *, made: bool) -> None:
        """Expect it no longer: it was ``made``, or it will not be. Idempotent."""
        tell, self._tell = self._tell, None
        if tell is not None:
            if not made:
                tell(b"never")
                if self._path:
                    self._forget(self._path)  # who had made it may be at another's container by now
            self._busy.release()

    def _say(self, word: bytes, value: Mapping[str, object]) -> None:
        if self._tell is not None and self._bundle:
            message = b"%s %s\n%s" % (word, os.fsencode(self._bundle), json.dumps(value, separators=(",", ":")).encode())
            if len(message) <= wire.MOST_HINT_BYTES:
                self._tell(message)

"""What is known about files of build contexts: path → signature and digest, a file for each context directory.

Only a memory of work: nothing is lost with it, a damaged file counts as none, and nothing waits for the disk. Whoever reads it compares
signatures (device, inode, size, times of change) with what is there.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from notebook_containers.store.disk import Disk

Signature: TypeAlias = tuple[int, int, int, int, int, int]
Known: TypeAlias = dict[str, tuple[Signature, str]]

_MOST_BYTES = 64 * 1024 * 1024
_VERSION = 1


class KnownDigests:
    """The memory of one store."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def read(self, context: str) -> Known:
        """Return what is known about a context directory; empty when nothing is."""
        try:
            with open(self._path(context), "rb") as file:
                data = file.read(_MOST_BYTES + 1)
            document = json.loads(data) if len(data) <= _MOST_BYTES else {}
            if document.get("version") != _VERSION or document.get("context") != context:
                return {}
            return {path: ((a, b, c, d, e, f), str(digest)) for path, (a, b, c, d, e, f, digest) in document["files"].items()}
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            return {}

    def write(self, context: str, known: Known) -> None:
        """Replace what is known about a context directory; a full disk is no error."""
        files = {path: [*signature, digest] for path, (signature, digest) in known.items()}
        staged = self._disk.staged_path()
        try:
            staged.write_text(json.dumps({"version": _VERSION, "context": context, "files": files}, separators=(",", ":")))
            os.replace(staged, self._path(context))
        except (OSError, ValueError):  # ValueError: a name that is no text
            with suppress(OSError):
                staged.unlink()

    def forget(self) -> None:
        """Delete everything that is known."""
        for name in os.listdir(self._disk.root / "digests"):
            with suppress(OSError):
                os.unlink(self._disk.root / "digests" / name)

    def _path(self, context: str) -> Path:
        return self._disk.root / "digests" / hashlib.sha256(os.fsencode(context)).hexdigest()[:32]

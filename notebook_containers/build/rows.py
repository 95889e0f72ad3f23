"""The cache rows of one stage, and the locks of the steps that they are for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from notebook_containers.build.once import StepLocks
from notebook_containers.build.work import Work
from notebook_containers.errors import Error
from notebook_containers.oci.image import Digest
from notebook_containers.store.layers import Layer
from notebook_containers.store.records import CacheRow
from notebook_containers.store.store import Store

_SLOW_S = 0.25


class Rows:
    """Keeps rows until a slow step's or the end, since a commit costs as much as a quick step; use it in a ``with`` statement."""

    def __init__(self, store: Store) -> None:
        self._records, self._locks = store.records, StepLocks(store.disk.staging / "steps.lock")
        self._rows: list[tuple[str, Digest | None, str]] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Write what is left; what was done stays cached after an error."""
        try:
            if error is None:
                self.flush()
            else:
                with suppress(Error):
                    self.flush()
        finally:
            self._locks.close()

    def take(self, key: str, check: Callable[[], None]) -> bool:
        """Take the lock of a step and say whether somebody else had it before; ``check`` may raise while it waits."""
        return self._locks.take(key, self.flush, check)

    def add(self, work: Work, place: str, layer: Layer | None, made: Mapping[str, object], *, seconds: float) -> None:
        """Keep the rows of a step that was done: that of its key, and its material under its place."""
        document = json.dumps({**made, "seconds": round(seconds, 3)})
        for key in (work.key, work.content()):
            if key:
                self._rows.append((key, layer.diff_id if layer is not None else None, document))
        self._rows.append((place, None, work.with_files().to_text()))
        if seconds > _SLOW_S:
            self.flush()

    def also(self, key: str, row: CacheRow) -> None:
        """Keep a row under another key too: the next look-up need not read contents."""
        self._rows.append((key, row.diff_id, row.document))

    def note(self, key: str, document: str) -> None:
        """Keep a row that stands for no layer."""
        self._rows.append((key, None, document))

    def flush(self) -> None:
        """Write the rows and give back the locks of their steps."""
        if self._rows:
            with self._records.transaction():
                for row in self._rows:
                    self._records.cache_put(*row)
        self._rows.clear()
        self._locks.release()

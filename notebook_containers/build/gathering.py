"""Errors of one text, gathered so that they can be told all at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from notebook_containers.errors import DockerfileError

_MOST = 10


class Gathered:
    """The errors met so far, in the order of reading; :meth:`tell` ends the reading when there are any."""

    def __init__(self) -> None:
        self._errors: list[DockerfileError] = []

    @contextmanager
    def each(self) -> Iterator[None]:
        """Keep an error of this block, so that reading can go on behind it; after 10 the reading ends."""
        try:
            yield
        except DockerfileError as err:
            self._errors.append(err)
            if len(self._errors) >= _MOST:
                self.tell()

    def __bool__(self) -> bool:
        """Whether there are errors."""
        return bool(self._errors)

    def tell(self) -> None:
        """Raise the first error in the text with all others in its ``others``; do nothing when there is none."""
        if self._errors:
            first, *others = sorted(self._errors, key=lambda e: (e.line, e.column))
            raise first.along_with(others)

"""How large a layer may become when it is unpacked: as large as the disk has room for, or as ``NBC_MAX_LAYER`` says.

The disk alone is a bound that a bomb of some megabytes reaches, and for that moment the disk is full for everybody.
"""

from __future__ import annotations

import os
import re

from notebook_containers.errors import InvalidArgument, InvalidDocument
from notebook_containers.store.tar_reader import Readable

VARIABLE = "NBC_MAX_LAYER"
_SIZE = re.compile(r"(\d{1,12})([kmgt]?)b?", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def bounded(stream: Readable) -> Readable:
    """Return the stream, cut with InvalidDocument where it becomes longer than ``NBC_MAX_LAYER``; unset or empty: the stream itself.

    InvalidArgument for a setting that is no size.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return stream
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"{VARIABLE} is {text!r}, which is no size", hint="write a number and a unit: 512m, 20g")
    return _Bounded(stream, int(match[1]) << 10 * _POWERS[match[2].lower()], text)


class _Bounded:
    """A stream that may not be longer than ``most`` bytes, which the user wrote as ``text``."""

    def __init__(self, stream: Readable, most: int, text: str) -> None:
        self._stream, self._left, self._text = stream, most, text

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, nothing at the end; InvalidDocument once there were too many."""
        found = self._stream.read(size)
        self._left -= len(found)
        if self._left < 0:
            raise InvalidDocument(
                f"the layer is larger than the {self._text} that {VARIABLE} allows",
                hint=f"set {VARIABLE} higher if you trust the image, or unset it: then the disk's free space is the bound",
            )
        return found

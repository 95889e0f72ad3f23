"""Files written with holes where their bytes are zero, so that an image's sparse file takes no more room than where it was made."""

from __future__ import annotations

import os

_BLOCK = 1 << 16
_ZEROS = memoryview(bytes(_BLOCK))


class SparseFile:
    """Writes to a new file's descriptor from its beginning; blocks of 64 KiB of zeros become holes. Call ``finish`` at the end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._hole = 0

    def write(self, piece: memoryview) -> None:
        """Write the next bytes."""
        if len(piece) < _BLOCK:
            self._put(piece)
            return
        start = 0
        for at in range(0, len(piece) - _BLOCK + 1, _BLOCK):
            if piece[at] == 0 and piece[at : at + _BLOCK] == _ZEROS:
                self._put(piece[start:at])
                self._hole += _BLOCK
                start = at + _BLOCK
        self._put(piece[start:])

    def finish(self) -> None:
        """Give the file its length, should it end in a hole."""
        if self._hole:
            os.ftruncate(self._fd, os.lseek(self._fd, self._hole, os.SEEK_CUR))

    def _put(self, piece: memoryview) -> None:
        if piece and self._hole:
            os.lseek(self._fd, self._hole, os.SEEK_CUR)
            self._hole = 0
        while piece:
            piece = piece[os.write(self._fd, piece) :]

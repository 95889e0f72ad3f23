"""A terminal that shows what was drawn on it."""

from __future__ import annotations

import os
import pty
import re
import termios
import threading
import time


class Screen:
    """A terminal of a size of its own, and what it shows in the end."""

    def __init__(self, columns: int, lines: int) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (lines, columns))
        self.out = os.fdopen(slave, "w")
        self.columns = columns
        self._raw = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self._raw += data
        except OSError:
            return  # the other end is closed

    def close(self) -> None:
        self.out.close()
        self._reader.join()
        os.close(self._master)

    def now(self) -> list[str]:
        """Return what it shows while somebody still draws: wait until what was written has been read."""
        termios.tcdrain(self.out.fileno())
        shown: list[str] = []
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            before, shown = shown, self.text()
            if before == shown and len(shown) > 1:
                break
            time.sleep(0.02)
        return shown

    def text(self) -> list[str]:
        """Play what was written, as a terminal would; fails for what it should not have been asked."""
        rows: list[str] = [""]
        row = 0
        for piece in re.findall(r"\x1b\[\d*[A-Za-z]|\r\n|\r|\n|[^\x1b\r\n]+", self._raw.decode()):
            if piece == "\r\n":
                row += 1
                rows += [""] * (row + 1 - len(rows))
            elif piece == "\r":
                pass
            elif piece.startswith("\x1b") and piece.endswith("A"):
                row -= int(piece[2:-1])
                assert row >= 0, "above what was written here"
            elif piece == "\x1b[J":
                del rows[row:]
                rows.append("")
            elif piece != "\x1b[K":
                assert len(piece) < self.columns
                rows[row] = piece
        return rows

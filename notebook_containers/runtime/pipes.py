"""The streams of a further process in a container, as its caller holds them."""

from __future__ import annotations

import os


class Pipes:
    """The three streams of an exec: ``theirs`` go to the process, the others stay."""

    def __init__(self, *, terminal: bool, stdin: bool) -> None:
        self.outputs: dict[int, str] = {}
        self.stdin = -1
        self.theirs: list[int] = []
        try:
            self._open(terminal=terminal, stdin=stdin)
        except BaseException:
            self.close_all()
            raise

    def _open(self, *, terminal: bool, stdin: bool) -> None:
        for _ in range(3):
            self.theirs.append(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
        if terminal:
            return
        if stdin:
            reading, self.stdin = os.pipe2(os.O_CLOEXEC)
            self._replace(0, reading)
        for number, stream in ((1, "stdout"), (2, "stderr")):
            output, writing = os.pipe2(os.O_CLOEXEC)
            self.outputs[output] = stream
            self._replace(number, writing)

    def _replace(self, number: int, fd: int) -> None:
        os.close(self.theirs[number])
        self.theirs[number] = fd

    def close_theirs(self) -> None:
        """Let go of the process's ends."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def close_all(self) -> None:
        """Let go of every end."""
        self.close_theirs()
        for fd in {*self.outputs, self.stdin} - {-1}:
            os.close(fd)

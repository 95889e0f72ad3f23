"""A program called as a user calls it: one process per command."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.machine import SEARCH
from tests.bench.measure import Unavailable

_LONGEST_S = 300


class Tool:
    """A program with the words that every call of it begins with."""

    def __init__(self, program: str, words: Sequence[str] = (), *, environment: Mapping[str, str] | None = None) -> None:
        self.program = program
        self._words = list(words)
        self.environment = {"PATH": SEARCH, "HOME": "/root", "LC_ALL": "C.UTF-8", **(environment or {})}
        self._reason = "" if shutil.which(program, path=SEARCH) else "not installed"

    def rule_out(self, reason: str) -> None:
        """Say why it cannot take part; every later call raises this."""
        self._reason = self._reason or reason

    @property
    def missing(self) -> str:
        """Why it cannot take part, or an empty text."""
        return self._reason

    def command(self, *words: str) -> list[str]:
        """Return the whole command line."""
        return [shutil.which(self.program, path=SEARCH) or self.program, *self._words, *words]

    def call(self, *words: str) -> str:
        """Run one command and return its output; raises Unavailable with its last words when it fails."""
        if self._reason:
            raise Unavailable(self._reason)
        command = self.command(*words)
        try:
            done = subprocess.run(
                command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LONGEST_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{words[0]} took longer than {_LONGEST_S} s") from None
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]
            raise Unavailable(f"cannot {words[0]} here: {last[:160]}")
        return done.stdout

    def load(self, archive: Path, image: str) -> None:
        """Import a root file system as ``image``; a failure rules the tool out."""
        try:
            self.call("import", str(archive), image)
        except Unavailable as err:
            self.rule_out(str(err))

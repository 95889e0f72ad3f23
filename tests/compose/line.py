"""The command line on a project, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.home import Home


class Line:
    """Runs ``nbc compose`` in a project's directory."""

    def __init__(self, home: Home, place: Path, environment: dict[str, str]) -> None:
        self.place = place
        self._environment = {**environment, **home.variables()}

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "notebook_containers", "compose", *words],
            cwd=self.place,
            env=self._environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        out, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, errors)

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

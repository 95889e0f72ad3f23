"""``nbc`` as people call it: a process of its own, over the session's store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.home import Home, clear


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What one command printed and how it ended."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of an error."""
        (line,) = self.err.splitlines()
        return line


@dataclass(slots=True, kw_only=True)
class Nbc:
    """Runs the command line."""

    environment: dict[str, str]
    cwd: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "notebook_containers", *words]

    def __call__(self, *words: str, stdin: str | None = None, env: dict[str, str] | None = None) -> Done:
        done = subprocess.run(
            self.command(*words), input=stdin, capture_output=True, text=True, cwd=self.cwd, timeout=60, check=False,
            env={**self.environment, **(env or {})},
        )  # fmt: skip
        return Done(status=done.returncode, out=done.stdout, err=done.stderr)

    def ok(self, *words: str, stdin: str | None = None, env: dict[str, str] | None = None) -> str:
        """Run one that must succeed, and return what it printed without the last newline."""
        done = self(*words, stdin=stdin, env=env)
        assert done.status == 0, done
        return done.out.removesuffix("\n")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Run one in the background; it is killed at the end."""
        process = subprocess.Popen(
            self.command(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.cwd, env=self.environment,
        )  # fmt: skip
        self.started.append(process)
        return process


@pytest.fixture
def nbc(home: Home, tree_environment: dict[str, str], tmp_path: Path, no_leaks: None) -> Iterator[Nbc]:
    """The command line; containers and volumes are gone afterwards."""
    runner = Nbc(environment={**tree_environment, **home.variables()}, cwd=tmp_path)
    yield runner
    for process in runner.started:
        process.kill()
        process.communicate()
    with home.open() as engine:
        clear(engine)
    assert home.remains() == {}


@pytest.fixture
def plain_nbc(tree_environment: dict[str, str], tmp_path: Path) -> Nbc:
    """The command line with no store, for what needs none."""
    return Nbc(environment={**tree_environment, "NBC_ROOT": "/proc/no/root", "NBC_RUN": "/proc/no/run"}, cwd=tmp_path)

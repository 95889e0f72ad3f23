"""Two hundred command lines, given to docker and to nbc: no answer differs that was not looked at (REL-35)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.bench.machine import SEARCH
from tests.cli import beside_verbs
from tests.conftest import TREE
from tests.needs import need

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

REVIEWED = Path(__file__).with_name("beside_verbs.toml")
FEWEST = 190


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """One entry of the list."""

    line: str
    docker: str
    ours: str
    reason: str
    here: bool = True

    def covers(self, line: str, docker: str, ours: str) -> bool:
        return fnmatchcase(line, self.line.replace("[", "[[]")) and fnmatchcase(docker, self.docker) and fnmatchcase(ours, self.ours)


def reviewed() -> list[Reviewed]:
    return [Reviewed(**entry) for entry in tomllib.loads(REVIEWED.read_text())["difference"]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str, bool]]:
    """Ask both; each line with Docker's answer, ours, and whether both wrote to standard error or neither did."""
    need(shutil.which("dockerd", path=SEARCH), "dockerd")
    output = tmp_path_factory.mktemp("beside") / "answers.json"
    command = [sys.executable, "-m", "tests.cli.beside_verbs", str(output)]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(output.read_text())
    need("missing" not in found, "dockerd", found.get("missing", ""))
    pairs = zip(beside_verbs.lines(), found["docker"], found["ours"], strict=True)
    return [(line, f"{a[0]} {a[1]}", f"{b[0]} {b[1]}", a[2] == b[2] or b[0] == 0) for line, a, b in pairs]


def different(answers: list[tuple[str, str, str, bool]]) -> Iterator[tuple[str, str, str]]:
    for line, docker, ours, same_streams in answers:
        if docker != ours or not same_streams:
            yield line, docker, ours


def test_every_difference_is_on_the_list(answers: list[tuple[str, str, str, bool]]) -> None:
    assert len(answers) >= FEWEST
    entries = reviewed()
    new = [
        f"{line}: docker {docker!r}, ours {ours!r}"
        for line, docker, ours in different(answers)
        if not any(entry.covers(line, docker, ours) for entry in entries)
    ]
    assert not new, "\n".join(new)


def test_every_entry_of_the_list_is_needed(answers: list[tuple[str, str, str, bool]]) -> None:
    found = list(different(answers))
    assert not [entry.line for entry in reviewed() if entry.here and not any(entry.covers(*each) for each in found)]


def test_what_fails_says_so_on_standard_error_alone(answers: list[tuple[str, str, str, bool]]) -> None:
    refused = [ours for _line, docker, ours, _same in answers if docker.startswith("125 ") and not ours.startswith("0 ")]
    assert len(refused) > 40
    assert set(refused) == {"125 "}
    assert all(len(entry.reason) > 20 for entry in reviewed())

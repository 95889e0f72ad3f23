"""A default and a privileged container, ours beside Docker's, over the same files: no difference that was not looked at (REL-35)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.bench.machine import SEARCH
from tests.conftest import TREE
from tests.needs import need
from tests.runtime.beside import KINDS, View, view

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

REVIEWED = Path(__file__).with_name("beside_docker.toml")
FEWEST = 900
ABSENT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """One entry of the list."""

    what: str
    docker: str
    ours: str
    reason: str
    kinds: tuple[str, ...]
    here: bool

    def covers(self, kind: str, name: str, docker: str, ours: str) -> bool:
        pairs = ((name, self.what), (docker, self.docker), (ours, self.ours))
        return kind in self.kinds and all(fnmatchcase(value, pattern) for value, pattern in pairs)


def reviewed() -> list[Reviewed]:
    entries = tomllib.loads(REVIEWED.read_text())["difference"]
    return [
        Reviewed(
            what=entry["what"],
            docker=entry["docker"],
            ours=entry["ours"],
            reason=entry["reason"],
            kinds=(entry["in"],) if "in" in entry else KINDS,
            here=entry.get("here", True),
        )
        for entry in entries
    ]


def differences(docker: View, ours: View) -> Iterator[tuple[str, str, str]]:
    """Yield (what, Docker's value, ours) for everything that is not the same."""
    for name in sorted(docker.keys() | ours.keys()):
        pair = docker.get(name, ABSENT), ours.get(name, ABSENT)
        if pair[0] != pair[1]:
            yield name, *pair


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, View]]:
    """Look into all four containers; each side's views by kind."""
    need(shutil.which("dockerd", path=SEARCH), "dockerd")
    output = tmp_path_factory.mktemp("beside") / "views.json"
    command = [sys.executable, "-m", "tests.runtime.beside", str(output)]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(output.read_text())
    need("missing" not in found["docker"], "dockerd", found["docker"].get("missing", ""))
    return {side: {kind: view(text) for kind, text in texts.items()} for side, texts in found.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_difference_is_on_the_list(views: Mapping[str, Mapping[str, View]], kind: str) -> None:
    docker, ours = views["docker"][kind], views["ours"][kind]
    assert min(len(docker), len(ours)) > FEWEST
    entries = reviewed()
    new = [
        f"{name}: docker {left!r}, ours {right!r}"
        for name, left, right in differences(docker, ours)
        if not any(entry.covers(kind, name, left, right) for entry in entries)
    ]
    assert not new, "\n".join(new)


def test_every_entry_of_the_list_is_needed(views: Mapping[str, Mapping[str, View]]) -> None:
    found = [(kind, *each) for kind in KINDS for each in differences(views["docker"][kind], views["ours"][kind])]
    stale = [entry.what for entry in reviewed() if entry.here and not any(entry.covers(*each) for each in found)]
    assert not stale


def test_every_entry_has_a_reason() -> None:
    assert all(len(entry.reason) > 20 for entry in reviewed())

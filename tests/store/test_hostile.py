"""The attack catalogue's archives, each plain, gzip and zstd, alone and over another layer, as root and as ordinary users of both kinds.

A refused one leaves nothing; one that is not gives the tree that it must; outside nothing changes in any case.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.people import Person, person
from tests.store.hostile import LOWER_TREE, Case, cases

pytestmark = [pytest.mark.root, pytest.mark.user]

WORLDS = ("root", "lent ids", "one id")
Outcomes = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def found() -> Iterator[Callable[[str], tuple[bytes, Outcomes]]]:
    """Run all cases once in each world, when first asked; the canary is looked at after each."""
    with person(lent=True) as lent, person(lent=False) as single:

        @cache
        def run(world: str) -> tuple[bytes, Outcomes]:
            return _run({"root": None, "lent ids": lent, "one id": single}[world], lent.home)

        yield run


def _run(who: Person | None, home: Path) -> tuple[bytes, Outcomes]:
    place = who.home if who else home
    canary = place / ("canary" if who else "canary-of-root")
    canary.mkdir()
    (canary / "f").write_text("canary")
    if who:
        for path in (canary, canary / "f"):
            os.chown(path, who.uid, who.gid)
    before = _facts(canary)
    if who is None:
        words = [sys.executable, "-m", "tests.store.hostile", str(place / "rootstore"), str(canary), "tar,gzip,zstd"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
    else:
        done = who.run("/usr/bin/python3", "-m", "tests.store.hostile", who.home / "root", canary, "gzip", timeout_s=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert _facts(canary) == before, "something outside was changed"
    result: Outcomes = json.loads(done.stdout)
    return os.fsencode(canary), result


def _facts(canary: Path) -> list[object]:
    paths = [canary, *sorted(canary.rglob("*"))]
    found: list[object] = []
    for path in paths:
        status = path.lstat()
        found.append((str(path), status.st_mode, status.st_nlink, status.st_uid, status.st_mtime_ns, path.is_dir() or path.read_text()))
    return found


def _wanted(case: Case, place: str) -> dict[str, str]:
    if place == "first" or case.tree.get("!"):
        return dict(case.tree)
    return {**LOWER_TREE, **case.tree, **(case.over or {})}


def _differs(world: str, name: str, case: Case, place: str, got: dict[str, str]) -> str:
    """Say how an outcome differs from what must come of the case, or nothing."""
    wanted = {path: text for path, text in _wanted(case, place).items() if text}
    if "!" in wanted:
        if "!" not in got:
            return f"{name}: not refused"
        said = got["says"]
        return f"{name}: left {got['left']}" if got["left"] else "" if "\n" not in said and said.isprintable() else f"{name}: says {said!r}"
    if "!" in got:
        return f"{name}: refused: {got['says']}"
    if world != "root":  # devices cannot be made, and with one id there is one owner
        wanted = {path: text for path, text in wanted.items() if text[0] not in "cb"}
    if world == "one id":
        wanted = {path: text.rpartition(" ")[0] if ":" in text else text for path, text in wanted.items()}
    if sorted(wanted) != sorted(got):
        return f"{name}: {sorted(got)}, not {sorted(wanted)}"
    wrong = [f"{path} is {got[path]!r}, not {text!r}" for path, text in wanted.items() if not got[path].startswith(text)]
    return f"{name}: {wrong}" if wrong else ""


def check(number: int, found: Callable[[str], tuple[bytes, Outcomes]], world: str, *, least: int) -> None:
    canary, outcomes = found(world)
    group = cases(canary)[number]
    assert len(group) >= least
    seen: dict[str, int] = dict.fromkeys(group, 0)
    wrong = []
    for key, got in outcomes.items():
        place, wrap, name = key.split("/")[-1], key.split("/")[-2], "/".join(key.split("/")[1:-2])
        if key.split("/")[0] == str(number):
            seen[name] += 1
            wrong.append(_differs(world, f"{name} ({wrap}, {place})", group[name], place, got))
    assert not [text for text in wrong if text]
    assert all(seen.values())


@pytest.mark.parametrize("world", WORLDS)
def test_tar01_names(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(1, found, world, least=19)


@pytest.mark.parametrize("world", WORLDS)
def test_tar02_writing_through_links(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(2, found, world, least=13)


@pytest.mark.parametrize("world", WORLDS)
def test_tar03_hard_links(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(3, found, world, least=12)


@pytest.mark.parametrize("world", WORLDS)
def test_tar04_paths_beyond_the_longest(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(4, found, world, least=5)


@pytest.mark.parametrize("world", WORLDS)
def test_tar05_deletions(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(5, found, world, least=19)


@pytest.mark.parametrize("world", WORLDS)
def test_tar06_overlays_own_forms(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(6, found, world, least=7)


@pytest.mark.parametrize("world", WORLDS)
def test_tar07_kinds(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(7, found, world, least=16)


@pytest.mark.parametrize("world", WORLDS)
def test_tar08_modes_and_owners(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(8, found, world, least=11)


@pytest.mark.parametrize("world", WORLDS)
def test_tar09_sizes_and_headers(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(9, found, world, least=18)


@pytest.mark.parametrize("world", WORLDS)
def test_tar10_bombs(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(10, found, world, least=9)


@pytest.mark.parametrize("world", WORLDS)
def test_tar11_names_twice(found: Callable[[str], tuple[bytes, Outcomes]], world: str) -> None:
    check(11, found, world, least=6)

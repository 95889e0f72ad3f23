"""``wrong/<case>/Dockerfile`` gives ``error``, one screen of it; with NBC_GOLDEN=write they are written anew (then read the diff)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from notebook_containers.errors import Error, SourceError

from . import dump

CASES = sorted(p.parent for p in (Path(__file__).parent / "wrong").glob("*/Dockerfile"))
SCREEN = (24, 200)


def told(text: str) -> str:
    """What a person sees of the error."""
    try:
        dump.plan(text)
    except Error as err:
        place = err.excerpt() if isinstance(err, SourceError) else ""
        return f"{place}\n{err.one_line()}\n".lstrip("\n")
    return ""


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.name)
def test_wrong(case: Path) -> None:
    error = told((case / "Dockerfile").read_bytes().decode())
    if os.environ.get("NBC_GOLDEN") == "write":
        (case / "error").write_text(error)
    assert error == (case / "error").read_text()
    assert 0 < len(error.splitlines()) <= SCREEN[0]
    assert max(len(line) for line in error.splitlines()) <= SCREEN[1]


def test_there_are_cases() -> None:
    assert len(CASES) >= 55

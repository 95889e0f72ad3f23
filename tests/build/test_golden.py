"""``parse/<case>/Dockerfile`` gives ``tree`` and ``plan``; with NBC_GOLDEN=write they are written anew (then read the diff)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from . import dump

CASES = sorted(p.parent for p in (Path(__file__).parent / "parse").glob("*/Dockerfile"))


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.name)
@pytest.mark.parametrize("kind", ["tree", "plan"])
def test_golden(case: Path, kind: str) -> None:
    made: dict[str, Callable[[str], str]] = {"tree": dump.tree, "plan": dump.plan}
    text = made[kind]((case / "Dockerfile").read_bytes().decode())
    if os.environ.get("NBC_GOLDEN") == "write":
        (case / kind).write_text(text)
    assert text == (case / kind).read_text()


def test_there_are_cases() -> None:
    assert len(CASES) >= 6

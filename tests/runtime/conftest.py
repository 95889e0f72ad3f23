"""Fixtures: one shared root filesystem, and for each test a runtime on a run directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.boxes import Box, make_root


@pytest.fixture(scope="session")
def lower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lower") / "diff"
    make_root(path)
    return path


@pytest.fixture
def box(tmp_path: Path, lower: Path) -> Iterator[Box]:
    made = Box(tmp_path, lower)
    yield made
    made.close()

"""Fixtures: one root filesystem for all, and a ``--root`` of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lowlevel.bundles import Low
from tests.runtime.boxes import make_root


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rootfs") / "rootfs"
    make_root(path)
    (path / "proc").mkdir()
    return path


@pytest.fixture
def low(tmp_path: Path, rootfs: Path) -> Iterator[Low]:
    made = Low(tmp_path, rootfs)
    yield made
    made.close()

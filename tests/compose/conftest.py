"""An engine whose store is empty again after each test, and projects of a text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.compose.project import ComposeProject
from tests.compose.line import Line
from tests.compose.projects import Opener
from tests.home import Home, clear


@pytest.fixture
def engine(home: Home, no_leaks: None) -> Iterator[Engine]:
    with home.open() as made:
        yield made
        clear(made)
        for network in made.networks.list():
            if network.labels.get("com.docker.compose.project"):
                made.networks.remove(network.name)
    assert home.remains() == {}


@pytest.fixture
def opener(engine: Engine, tmp_path: Path) -> Opener:
    """Return what opens a project of a text, in a directory of its own."""
    place = tmp_path / "shop"
    place.mkdir()

    def opened(text: str, **given: str) -> ComposeProject:
        return engine.compose(text if "\n" in text else f"{text}\n", directory=place, **given)

    return opened


@pytest.fixture
def line(home: Home, engine: Engine, tmp_path: Path, tree_environment: dict[str, str]) -> Line:
    place = tmp_path / "shop"
    place.mkdir()
    return Line(home, place, tree_environment)

"""A store of its own for each test that kills: what one leaves must not be another's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from notebook_containers import Engine
from tests.home import BASE, Home, clear, new_home


@pytest.fixture(scope="session")
def filled() -> Iterator[Home]:
    """A store with the base image and the default bridge."""
    with new_home() as made:
        with made.open() as engine:
            engine.containers.run(BASE, ["true"], remove=True)
        yield made


@pytest.fixture
def place(filled: Home, no_leaks: None) -> Iterator[Home]:
    """The store, with no container before and after."""
    yield filled
    with filled.open() as engine:
        clear(engine)
        engine.images.prune()
    shutil.rmtree(filled.run / "c")
    assert filled.remains() == {}


@pytest.fixture
def engine(place: Home) -> Iterator[Engine]:
    with place.open() as opened:
        yield opened

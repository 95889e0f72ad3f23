"""A store of its own for each test that kills: what one leaves must not be another's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from notebook_containers import Engine
from tests.home import BASE, Home, new_home


@pytest.fixture
def place(no_leaks: None) -> Iterator[Home]:
    """A store with the base image."""
    with new_home() as made:
        with made.open() as engine:
            engine.images.get(BASE)
        yield made


@pytest.fixture
def engine(place: Home) -> Iterator[Engine]:
    with place.open() as opened:
        yield opened

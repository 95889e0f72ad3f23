"""One engine for the directory; each test's containers and volumes are removed, and nothing of them may be left on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from tests.home import BASE, Home, clear, new_home


@pytest.fixture(scope="session")
def shared_engine(home: Home) -> Iterator[Engine]:
    with home.open() as engine:
        engine.containers.run(BASE, ["true"], network="none", remove=True)
        yield engine


@pytest.fixture
def engine(shared_engine: Engine, home: Home, no_leaks: None) -> Iterator[Engine]:
    """The engine, with no container and no volume before and after."""
    yield shared_engine
    clear(shared_engine)
    shared_engine.networks.tidy()
    assert home.remains() == {}


@pytest.fixture
def own_home(no_leaks: None) -> Iterator[Home]:
    """Places for one test alone, for what must count images and bytes."""
    with new_home() as made:
        yield made


@pytest.fixture
def own(own_home: Home) -> Iterator[Engine]:
    """An engine of one test's own, over :func:`own_home`."""
    with own_home.open() as engine:
        yield engine


@pytest.fixture
def sh(engine: Engine) -> Callable[[str], str]:
    """Return a function that runs a script in a new container and returns what it printed."""

    def run(script: str) -> str:
        output = engine.containers.run(BASE, ["sh", "-c", script], network="none", remove=True, stderr=True)
        assert isinstance(output, bytes)
        return output.decode()

    return run


@pytest.fixture
def sleeper(engine: Engine) -> Container:
    """A container that runs until it is stopped."""
    container = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, stop_timeout=1)
    assert isinstance(container, Container)
    return container

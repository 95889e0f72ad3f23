"""A store of its own for each test that kills: what one leaves must not be another's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from notebook_containers import Engine
from tests.home import BASE, Home, new_home
from tests.needs import need
from tests.registry.conftest import PROGRAM, free_port, wait_for


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


CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}", secret: test}}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host and port of a real registry."""
    need(PROGRAM.exists(), "docker-registry")
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    (folder / "config.yml").write_text(CONFIG.format(folder=folder / "data", port=port))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([PROGRAM, "serve", folder / "config.yml"], stdout=log, stderr=log)
    wait_for(port)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=10)

"""Runs containers for tests that look at what is inside."""

from __future__ import annotations

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.keywords import CreateKeywords
from tests.home import BASE


def run(engine: Engine, command: list[str], given: CreateKeywords | None = None, image: str = BASE) -> str:
    """Run to the end, without network, and return all that was printed."""
    options: CreateKeywords = {"network": "none", **(given or {})}
    output = engine.containers.run(image, command, remove=True, stderr=True, **options)
    assert isinstance(output, bytes)
    return output.decode()


def started(engine: Engine, command: list[str], given: CreateKeywords | None = None, image: str = BASE) -> Container:
    """Start without network, in the background."""
    options: CreateKeywords = {"network": "none", "stop_timeout": 0, **(given or {})}
    container = engine.containers.run(image, command, detach=True, **options)
    assert isinstance(container, Container)
    return container

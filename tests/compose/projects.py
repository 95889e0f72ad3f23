"""Texts of projects that tests bring up, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from notebook_containers.compose.project import ComposeProject
from tests.home import BASE

LONG_S = 30
"""How long is waited for what comes at once on a quiet machine."""


class Opener(Protocol):
    """Opens the project of a text; ``name`` is its name (shop)."""

    def __call__(self, text: str, *, name: str = ...) -> ComposeProject: ...


def service(name: str, script: str = "exec sleep 1000", *more: str) -> str:
    """Return one service of the base image that runs a script and is killed at once when it is to stop."""
    lines = [
        f"  {name}:",
        f"    image: {BASE}",
        f"    command: [sh, -c, {script!r}]",
        "    stop_grace_period: 0s",
        *(f"    {m}" for m in more),
    ]
    return "\n".join(lines) + "\n"


def text(*services: str, below: str = "") -> str:
    """Return a file of services."""
    return "services:\n" + "".join(services) + below


def wait_for(condition: Callable[[], bool], what: str = "what is waited for") -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)

"""Fixtures of the views: a terminal of a given size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.commands.screen import Screen


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Screen]:
    monkeypatch.setenv("TERM", "xterm")
    made = Screen(*request.param)
    yield made
    if not made.out.closed:
        made.close()

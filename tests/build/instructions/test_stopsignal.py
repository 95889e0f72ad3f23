"""STOPSIGNAL: by name or number."""

from __future__ import annotations

import pytest

from .conftest import Builds


@pytest.mark.parametrize("signal", ["SIGINT", "INT", "2", "sigterm", "SIGRTMIN+3"])
def test_names_and_numbers(builds: Builds, signal: str) -> None:
    assert builds(f"FROM base\nENV S={signal}\nSTOPSIGNAL $S\n").config["StopSignal"] == signal


@pytest.mark.parametrize("words", ["SIGNONE", "0", "-1", "two words", "$NONE"])
def test_what_is_no_signal(builds: Builds, words: str) -> None:
    assert builds.refused(f"FROM base\nSTOPSIGNAL {words}\n").line == 2

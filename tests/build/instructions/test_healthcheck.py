"""HEALTHCHECK: its command in both forms, its times, NONE."""

from __future__ import annotations

import pytest

from .conftest import Builds

SECOND = 10**9


def test_times_and_command(builds: Builds) -> None:
    text = "HEALTHCHECK --interval=1m30s --timeout=2s --start-period=4s --start-interval=500ms --retries=2 CMD curl -f localhost || exit 1"
    assert builds(f"FROM base\n{text}\n").config["Healthcheck"] == {
        "Test": ["CMD-SHELL", "curl -f localhost || exit 1"], "Interval": 90 * SECOND, "Timeout": 2 * SECOND, "StartPeriod": 4 * SECOND,
        "StartInterval": SECOND // 2, "Retries": 2,
    }  # fmt: skip


def test_the_list_form_and_the_last_one_counts(builds: Builds) -> None:
    built = builds('FROM base\nHEALTHCHECK CMD false\nHEALTHCHECK CMD ["/check", "me"]\n')
    assert built.config["Healthcheck"] == {"Test": ["CMD", "/check", "me"]}


def test_none_takes_the_bases_away(builds: Builds) -> None:
    builds("FROM base\nHEALTHCHECK CMD true\n", tag="parent")
    assert builds("FROM parent\nHEALTHCHECK NONE\n").config["Healthcheck"] == {"Test": ["NONE"]}


@pytest.mark.parametrize("words", ["", "true", "--interval=1 CMD true", "--retries=x CMD true", "--nap=1s CMD true", "NONE CMD true"])
def test_what_is_wrong(builds: Builds, words: str) -> None:
    assert builds.refused(f"FROM base\nHEALTHCHECK {words}\n").line == 2

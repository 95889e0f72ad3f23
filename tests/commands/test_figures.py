"""Numbers as people read them."""

from __future__ import annotations

import pytest

from notebook_containers.commands import figures


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (10_000, "10 kB"),
        (41_230_000, "41.2 MB"),
        (103_500_000, "104 MB"),
        (999_960, "1 MB"),
        (999_499, "999 kB"),
        (3 * 10**18, "3000 PB"),
        (-1500, "-1.5 kB"),
    ],
)
def test_sizes(count: int, shown: str) -> None:
    assert figures.size(count) == shown


def test_docker_writes_sizes_without_a_space() -> None:
    assert figures.size(41_230_000, separator="") == "41.2MB"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0404, "40 ms"), (0.1, "0.1 s"), (3.21, "3.2 s"), (59.97, "1 min 00 s"), (125, "2 min 05 s"), (3725, "1 h 02 min")],
)
def test_durations(value: float, shown: str) -> None:
    assert figures.seconds(value) == shown


def test_counts_and_dates() -> None:
    assert figures.count(1, "layer") == "1 layer"
    assert figures.count(2, "layer") == "2 layers"
    assert figures.date(0) == "1970-01-01 00:00:00 UTC"

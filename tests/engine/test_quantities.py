"""Sizes, times and names between words and numbers."""

from __future__ import annotations

import time

import pytest

from notebook_containers.commands.figures import docker_size
from notebook_containers.engine import quantities
from notebook_containers.engine.words import check_name
from notebook_containers.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("17", 17),
        ("512k", 512 << 10),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("64mb", 64 << 20),
        ("64MiB", 64 << 20),
        ("1.5g", 3 << 29),
        (" 2g ", 2 << 30),
        ("1 g", 1 << 30),
        ("1t", 1 << 40),
        ("10b", 10),
        (99, 99),
    ],
)
def test_sizes_have_powers_of_1024(text: str | int, count: int) -> None:
    assert quantities.parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1,5g", "1e3", "0x10", "1mm", "\uff11m", "1.m", "nan", "inf"])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is no shm size"):
        quantities.parse_bytes(text, what="shm size")


def test_a_size_that_no_kernel_takes_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="size"):
        quantities.parse_bytes("99999999p")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1234, "1.23kB"),
        (12_345_678, "12.3MB"),
        (999_500, "1MB"),
        (999_499, "999kB"),
        (5 * 10**15, "5PB"),
    ],
)
def test_sizes_are_shown_in_three_digits(count: int, text: str) -> None:
    assert docker_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (47 * 3600, "47 hours"),
        (49 * 3600, "2 days"),
        (15 * 86400, "2 weeks"),
        (61 * 86400, "2 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations_are_dockers_words(seconds: float, text: str) -> None:
    assert quantities.human_duration(seconds) == text


def test_times_go_both_ways() -> None:
    assert quantities.rfc3339(0.5) == "1970-01-01T00:00:00.500000Z"
    assert quantities.rfc3339(None) == "0001-01-01T00:00:00Z"
    assert quantities.unix_time("1970-01-01T00:00:00.500000Z") == 0.5
    assert quantities.unix_time("2026-01-02T03:04:05.123456789Z") == pytest.approx(1767323045.123456)
    assert quantities.unix_time("1970-01-01T01:00:00+01:00") == 0
    assert quantities.unix_time("2026-01-02T03:04:05.123456789+01:00") == pytest.approx(1767319445.123456)
    assert quantities.unix_time("") == 0 == quantities.unix_time("yesterday")
    assert quantities.unix_time("1970-01-01T00:00:10") == 10


def test_the_future_is_not_long_ago() -> None:
    assert quantities.ago(time.time() + 3600) == "Less than a second ago"


def test_ids_and_names_are_fresh_and_usable() -> None:
    ids = {quantities.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(i) == 64 and int(i, 16) >= 0 for i in ids)
    assert check_name(quantities.new_name())

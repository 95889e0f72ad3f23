"""Sizes, times and ids between people's words and numbers (Docker's units: 1024 for limits, 1000 for what is shown)."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime

from notebook_containers.errors import InvalidArgument

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(?:i?b)?\Z", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

_ADJECTIVES = [
    "amber",
    "bold",
    "brisk",
    "calm",
    "clever",
    "deft",
    "eager",
    "fair",
    "fond",
    "gentle",
    "happy",
    "jolly",
    "keen",
    "kind",
    "lively",
    "lucid",
    "merry",
    "mild",
    "neat",
    "noble",
    "proud",
    "quick",
    "quiet",
    "rapid",
    "serene",
    "sharp",
    "steady",
    "sunny",
    "tidy",
    "vivid",
    "warm",
    "witty",
]
_NOUNS = [
    "abacus",
    "anchor",
    "atlas",
    "beacon",
    "birch",
    "brook",
    "canyon",
    "cedar",
    "comet",
    "coral",
    "delta",
    "ember",
    "falcon",
    "fjord",
    "garnet",
    "harbor",
    "heron",
    "island",
    "juniper",
    "lagoon",
    "lantern",
    "maple",
    "meadow",
    "nebula",
    "orchard",
    "otter",
    "pebble",
    "quartz",
    "raven",
    "sparrow",
    "summit",
    "willow",
]


def parse_bytes(value: str | int, *, what: str = "size") -> int:
    """Return bytes for ``64m``, ``1.5g``, ``1073741824``; raises InvalidArgument naming ``what``."""
    if isinstance(value, int):
        return value
    match = _SIZE.match(value.strip())
    if not match:
        raise InvalidArgument(f"{value!r} is no {what}", hint="write a number and a unit: 512k, 64m, 2g")
    count = int(float(match[1]) * 1024 ** _POWERS[match[2].lower()])
    if count >= 2**63:
        raise InvalidArgument(f"{what} {value!r} is more than a machine can count")
    return count


def human_duration(seconds: float) -> str:
    """Return a length of time in Docker's words: ``Less than a second``, ``3 minutes``, ``About an hour``, ``2 days``."""
    whole = int(seconds)
    steps = (
        (1, "Less than a second"),
        (2, "1 second"),
        (60, f"{whole} seconds"),
        (120, "About a minute"),
        (3600, f"{whole // 60} minutes"),
        (7200, "About an hour"),
        (48 * 3600, f"{whole // 3600} hours"),
        (14 * 86400, f"{whole // 86400} days"),
        (60 * 86400, f"{whole // (7 * 86400)} weeks"),
        (730 * 86400, f"{whole // (30 * 86400)} months"),
    )
    for limit, words in steps:
        if whole < limit:
            return words
    return f"{whole // (365 * 86400)} years"


def ago(moment: float) -> str:
    """Return how long ago a Unix time was, in Docker's words."""
    return f"{human_duration(max(time.time() - moment, 0))} ago"


def rfc3339(moment: float | None) -> str:
    """Return a Unix time as RFC 3339 UTC; None gives Docker's zero time."""
    if moment is None:
        return "0001-01-01T00:00:00Z"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def unix_time(text: str) -> float:
    """Return the Unix time of an RFC 3339 text; 0.0 for an empty or unreadable one."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")[:32]).timestamp()
    except ValueError:
        return 0.0


def new_id() -> str:
    """Return a fresh 64-digit hexadecimal id."""
    return os.urandom(32).hex()


def new_name() -> str:
    """Return a friendly container name such as ``calm_otter``; callers retry when it is taken."""
    first, second = os.urandom(2)  # the secrets module would import OpenSSL: 4 ms of every command
    return f"{_ADJECTIVES[first % len(_ADJECTIVES)]}_{_NOUNS[second % len(_NOUNS)]}"

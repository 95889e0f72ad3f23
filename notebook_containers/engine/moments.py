"""Points in time as callers write them: ``10m`` ago, RFC 3339 to the nanosecond, a Unix time, a datetime."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TypeAlias

from notebook_containers.errors import InvalidArgument

Moment: TypeAlias = "str | float | datetime"

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h|d))+\Z", re.ASCII)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?\Z", re.ASCII)
_FRACTION = re.compile(r"\.([0-9]+)")
_HINT = "write 10m, 2026-01-31T12:00:00Z or a Unix time"


def unix(moment: Moment | None) -> float | None:
    """Return a Unix time; InvalidArgument for a text that is no time. A duration is before now; a text without a zone is local time.

    A text to the nanosecond gives exactly the number that the same text in a log gives. A datetime without a zone is UTC (docker-py).
    """
    if moment is None:
        return None
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(moment, (int, float)):
        return float(moment)
    return _text(moment.strip())


def _text(text: str) -> float:
    if _DURATION.match(text):
        return time.time() - sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    if _NUMBER.match(text):
        return float(text)
    fraction = _FRACTION.search(text)
    try:
        whole = datetime.fromisoformat(_FRACTION.sub("", text, count=1))
    except ValueError as err:
        raise InvalidArgument(f"{text!r} is no time", hint=_HINT) from err
    return whole.timestamp() + (float(f"0.{fraction[1]}") if fraction else 0.0)

"""``--filter`` of prune: ``until``, ``label``, ``label!``; docker-py's mapping and the command line's words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence

from notebook_containers.engine.quantities import unix_time
from notebook_containers.errors import InvalidArgument

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
Filters = Mapping[str, object]
Test = Callable[[float, Mapping[str, str]], bool]


def from_words(words: Sequence[str]) -> dict[str, object]:
    """Return docker-py's mapping of ``KEY=VALUE`` words; a key may stand several times."""
    found: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidArgument(f"filter {word!r} is not understood", hint="write KEY=VALUE, as until=24h or label=stage=test")
        found.setdefault(key, []).append(value)
    return {**found}


def prune_test(filters: Filters | None) -> Test:
    """Return a test of (created, labels) that every filter must pass; InvalidArgument for a filter that prune does not have."""
    tests = [_test(key, value) for key, given in (filters or {}).items() for value in values(given)]
    return lambda created, labels: all(test(created, labels) for test in tests)


def dangling(filters: Filters | None) -> tuple[bool, Filters]:
    """Take ``dangling`` out of an image prune's filters; tell whether images with names go too (``dangling=false``)."""
    rest = {key: value for key, value in (filters or {}).items() if key != "dangling"}
    given = values((filters or {}).get("dangling", ()))
    return not all(truth("dangling", word) for word in given), rest


def truth(key: str, given: object) -> bool:
    """Return whether a filter's words say true; none of them does not. InvalidArgument for other words."""
    words = [word.lower() for word in values(given)]
    for word in words:
        if word not in ("true", "false", "1", "0"):
            raise InvalidArgument(f"filter {key}={word!r} is not understood", hint=f"write {key}=true or {key}=false")
    return any(word in ("true", "1") for word in words)


def has_label(labels: Mapping[str, str], word: str) -> bool:
    """Tell whether there is the label ``NAME`` or ``NAME=VALUE``."""
    name, equals, wanted = word.partition("=")
    return name in labels and (not equals or labels[name] == wanted)


def values(given: object) -> list[str]:
    """Return the values of one key, of which a caller may give one or several."""
    if isinstance(given, bool):
        return [str(given).lower()]
    return [str(item) for item in given] if isinstance(given, (list, tuple, set)) else [str(given)]


def _test(key: str, value: str) -> Test:
    if key == "until":
        moment = until(value)
        return lambda created, _labels: created < moment
    if key == "label":
        return lambda _created, labels: has_label(labels, value)
    if key == "label!":
        return lambda _created, labels: not has_label(labels, value)
    raise InvalidArgument(f"filter {key!r} is not understood by prune", hint="use until=24h, label=NAME[=VALUE] or label!=NAME[=VALUE]")


def until(text: str) -> float:
    """Return the Unix time of ``24h`` (ago), ``1h30m`` (ago), a Unix time or an RFC 3339 time."""
    parts = _SPAN.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return time.time() - sum(float(number) * _UNITS[unit] for number, unit in parts)
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return float(text)
    if moment := unix_time(text):
        return moment
    raise InvalidArgument(f"{text!r} is no time", hint="write 24h, 2026-01-31T12:00:00 or a Unix time")

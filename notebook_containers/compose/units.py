"""Numbers, sizes, durations and file modes in a compose file's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from notebook_containers.engine.quantities import parse_bytes
from notebook_containers.errors import InvalidArgument

TRUTH: Mapping[str, bool] = {
    **dict.fromkeys(("true", "t", "y", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "f", "n", "no", "off", "0"), False),
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w)", re.ASCII)
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86_400 * 10**9,
    "w": 7 * 86_400 * 10**9,
}
_MOST_NANOSECONDS = 2**63
_INTEGER = re.compile(r"[-+]?[0-9]{1,19}\Z", re.ASCII)


def integer(text: str) -> int:
    """Return a whole number; raises InvalidArgument."""
    word = text.strip()
    if word.endswith(".0"):
        word = word[:-2]
    if not _INTEGER.match(word) or abs(int(word)) >= 2**63:
        raise InvalidArgument(f"{text!r} is no whole number")
    return int(word)


def number(text: str) -> float:
    """Return a number, whole ones too; raises InvalidArgument."""
    try:
        found = float(text)
    except ValueError as err:
        raise InvalidArgument(f"{text!r} is no number") from err
    if not -1e18 < found < 1e18 or "_" in text:
        raise InvalidArgument(f"{text!r} is no number")
    return found


def size(text: str) -> int:
    """Return the bytes of ``64m``, ``1.5gb`` or ``1024`` (units of 1024); -1 passes; raises InvalidArgument."""
    return -1 if text.strip() == "-1" else parse_bytes(text)


def nanoseconds(text: str) -> int:
    """Return the nanoseconds of ``1m30s``, ``1.5h``, ``500ms`` or ``0``; raises InvalidArgument."""
    word = text.strip()
    found = _PART.findall(word) if len(word) <= 64 else []
    if word not in ("0", "") and (not found or "".join(n + u for n, u in found) != word):
        raise InvalidArgument(f"{text[:80]!r} is no duration", hint="write it as 1m30s; the units are ms, s, m and h")
    if word == "":
        raise InvalidArgument("a duration is wanted", hint="write it as 1m30s")
    count = int(sum(Fraction(count if count[-1] != "." else count + "0") * _NANOSECONDS[unit] for count, unit in found))
    if count >= _MOST_NANOSECONDS:
        raise InvalidArgument(f"{text!r} is longer than a machine can count")
    return count


def seconds(text: str) -> float:
    """Return the seconds of a duration; raises InvalidArgument."""
    return nanoseconds(text) / 1e9


def canonical_duration(text: str) -> str:
    """Return a duration as Docker prints it: ``90s`` is ``1m30s``, ``1h`` is ``1h0m0s``; raises InvalidArgument."""
    left = nanoseconds(text)
    if left < 10**9:
        for unit in ("ms", "µs"):
            if left >= _NANOSECONDS[unit]:
                return f"{_decimal(left, _NANOSECONDS[unit])}{unit}"
        return f"{left}ns" if left else "0s"
    hours, left = divmod(left, _NANOSECONDS["h"])
    minutes, left = divmod(left, _NANOSECONDS["m"])
    last = f"{_decimal(left, 10**9)}s"
    return f"{hours}h{minutes}m{last}" if hours else f"{minutes}m{last}" if minutes else last


def _decimal(count: int, unit: int) -> str:
    whole, rest = divmod(count, unit)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def file_mode(text: str) -> int:
    """Return the file mode of octal digits (``0440``, ``440``, ``0o440``); raises InvalidArgument."""
    word = text.strip().removeprefix("0o")
    if not re.fullmatch(r"[0-7]{1,6}", word):
        raise InvalidArgument(f"{text!r} is no octal file mode", hint='write "0440"')
    return int(word, 8)


def canonical_mode(text: str) -> str:
    """Return a file mode as Docker prints it, ``0440``; raises InvalidArgument."""
    return f"0{file_mode(text):o}"

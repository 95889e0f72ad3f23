"""Sizes, durations and dates as people read them; one way for the CLI's tables and the notebook's."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float, *, separator: str = " ") -> str:
    """Return bytes in decimal units with at most three digits: ``41.2 MB``; Docker's tables have no separator."""
    value, sign = abs(float(count)), "-" if count < 0 else ""
    unit = 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    shown = f"{value:.0f}" if value >= 999.5 else f"{value:.3g}"
    return f"{sign}{shown}{separator}{_UNITS[unit]}"


def docker_size(count: float) -> str:
    """Return bytes as Docker's tables show them: ``41.2MB``."""
    return size(count, separator="")


def seconds(value: float) -> str:
    """Return a duration: ``40 ms``, ``3.2 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if value < 0.0995:
        return f"{max(value, 0) * 1000:.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 layer``, ``3 layers``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def date(created: float) -> str:
    """Return a time (seconds since 1970) as ``2026-11-24 06:10:12 UTC``."""
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

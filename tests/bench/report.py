"""The result as a table on the terminal and as ``RESULTS.md``."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.machine import facts, versions
from tests.bench.measure import Row

RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = ("work", "ours", "peer", "peer's", "ratio", "target", "met", "load")
_INTRODUCTION = """# Measured

Written by `python -m tests.bench --write`. Each value is the median of interleaved rounds in one run, so the *ratio* (peer / ours) is the
claim; times drift between machines. The peers are called as a notebook's user calls them: one client process per command. `load` is the
machine's one-minute load at the end of the row: other programs shared it, and all contenders alike.
"""


def table(rows: Sequence[Row]) -> str:
    """Return the rows as aligned columns."""
    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def write(found: Mapping[str, Sequence[Row]], repeat: int) -> None:
    """Put the rows of this run into RESULTS.md, in place of their own older ones; the machine's facts are of this run."""
    sections = _sections(RESULTS.read_text() if RESULTS.exists() else "")
    day = time.strftime("%Y-%m-%d", time.gmtime())
    for name, rows in found.items():
        sections[name] = f"{day}, median of {repeat} rounds (of five at least, where they take more than a minute)\n\n{_markdown(rows)}\n"
    machine = "\n".join(f"- {line}" for line in (*facts(), *versions()))
    parts = [f"{_INTRODUCTION}\n{machine}\n", *(f"## {name}\n\n{text.strip()}\n" for name, text in sections.items())]
    RESULTS.write_text("\n".join(parts))


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _markdown(rows: Sequence[Row]) -> str:
    lines = [_HEAD, tuple("---" for _ in _HEAD), *(_cells(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    theirs = row.missing or _value(row.theirs, row.unit)
    ratio = "-" if row.ratio is None else f"{row.ratio:.1f}x"
    met = {True: "yes", False: "NO", None: "-"}[row.met]
    return (row.work, _value(row.ours, row.unit), row.peer or "-", theirs, ratio, row.target.text, met, f"{row.load:.1f}")


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"

"""The DataFrame that people see: every value stays what it is, only its display is for people. Imports pandas; import it late."""

from __future__ import annotations

import numbers
import re
import secrets
from collections.abc import Callable, Mapping
from typing import TypeAlias

import pandas as pd

from notebook_containers.commands import figures
from notebook_containers.commands.text import one_line
from notebook_containers.notebook import links
from notebook_containers.notebook.html import html

Formatter: TypeAlias = Callable[[object], str]

_CELL_LIMIT = 60
_MOST_LINKS = 8
_BYTES = frozenset(
    {"size", "size_rw", "size_root_fs", "unique_size", "shared_size", "bytes_added", "reclaimable"}
    | {"mem_usage", "mem_limit", "net_rx", "net_tx", "block_read", "block_write"}
)


class Frame(pd.DataFrame):
    """A pandas DataFrame in every way; sizes, times, ports and labels are written for people when it is displayed.

    What is chained on it (``query``, ``sort_values``, column lists) is such a frame again. Text from containers cannot control the page
    or the terminal it is shown on.
    """

    @property
    def _constructor(self) -> Callable[..., Frame]:
        return Frame

    def _repr_html_(self) -> str | None:
        if not pd.get_option("display.notebook_repr_html"):
            return None
        marks = _Links()
        formatters = self._formatters(_html_date)
        if "ports" in formatters:
            formatters["ports"] = marks.ports
        written = self._readable().to_html(
            max_rows=pd.get_option("display.max_rows"),
            max_cols=pd.get_option("display.max_columns"),
            show_dimensions=self._is_cut(),
            formatters=formatters,
            na_rep="",
            notebook=True,
        )
        return marks.put(written)

    def __repr__(self) -> str:
        return self._readable().to_string(
            max_rows=pd.get_option("display.max_rows"),
            min_rows=pd.get_option("display.min_rows"),
            line_width=pd.get_option("display.width"),
            show_dimensions=self._is_cut(),
            formatters=self._formatters(_date),
            na_rep="",
        )

    def _is_cut(self) -> bool:
        most = pd.get_option("display.max_rows")
        return bool(most) and len(self) > most

    def _readable(self) -> pd.DataFrame:
        """Return a plain frame where what is not known is empty: pandas writes ``<NA>`` whatever formatter it is given."""
        plain = pd.DataFrame(self)
        for name, kind in zip(self.columns, self.dtypes, strict=True):
            if str(kind) == "Int64":
                plain[name] = plain[name].astype("object").where(plain[name].notna(), "")
        return plain

    def _formatters(self, date: Formatter) -> dict[str, Formatter]:
        columns = {str(name): _formatter(str(name), kind, date) for name, kind in zip(self.columns, self.dtypes, strict=True)}
        return {**columns, "__index__": date if isinstance(self.index, pd.DatetimeIndex) else _cell}


class _Links:
    """Published ports as links: pandas escapes every cell, so a cell is put in afterwards, for a mark that no cell's text can guess."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(6)  # short: pandas cuts long cells
        self._made: list[str] = []

    def ports(self, value: object) -> str:
        """Return a mark in place of a cell with ports that a browser can open."""
        if not isinstance(value, (list, tuple)) or not value:
            return _cell(value)
        more = f", … {len(value) - _MOST_LINKS} more" if len(value) > _MOST_LINKS else ""
        self._made.append(", ".join(self._port(item) for item in value[:_MOST_LINKS]) + more)
        return f"{self._mark}{len(self._made) - 1};"

    @staticmethod
    def _port(mapping: object) -> str:
        if (
            isinstance(mapping, Mapping)
            and mapping.get("protocol") == "tcp"
            and isinstance(number := mapping.get("host_port"), int)
            and number
        ):
            return links.anchor(links.where(str(mapping.get("host_ip")), number), one_line(port(mapping)))
        return html(_cell(mapping))

    def put(self, written: str) -> str:
        """Put the links in place of their marks."""
        return re.sub(rf"{self._mark}(\d+);", lambda match: self._made[int(match[1])], written)


def _formatter(name: str, kind: object, date: Formatter) -> Formatter:
    if isinstance(kind, pd.DatetimeTZDtype):
        return date
    return _size if name in _BYTES and str(kind) in {"int64", "Int64"} else _cell


def _date(value: object) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S UTC") if isinstance(value, pd.Timestamp) else ""


def _html_date(value: object) -> str:
    """Return the date so that a narrow column does not break it."""
    return _date(value).replace("-", "\N{NON-BREAKING HYPHEN}").replace(" ", "\N{NO-BREAK SPACE}")


def _size(value: object) -> str:
    return figures.size(float(value)) if isinstance(value, numbers.Real) else ""


def _cell(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, Mapping):
        shown = port(value) if "container_port" in value else ", ".join(f"{key}={item}" for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        shown = ", ".join(_cell(item) for item in value)
    else:
        shown = str(value)
    return one_line(shown, limit=_CELL_LIMIT)


def port(mapping: Mapping[object, object]) -> str:
    """Return a published port: ``127.0.0.1:8080→80/tcp`` (Docker's ``->`` would break in two), or ``80/tcp`` when not published."""
    inner = f"{mapping['container_port']}/{mapping.get('protocol', 'tcp')}"
    if not mapping.get("host_port"):
        return inner
    address = str(mapping.get("host_ip") or "0.0.0.0")  # noqa: S104 - shown, not bound
    address = f"[{address}]" if ":" in address else address
    return f"{address}:{mapping['host_port']}→{inner}"

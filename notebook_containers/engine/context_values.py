"""Values of a program as files of a build context: what a notebook computed, for a COPY. No library is imported here that a value is of."""

from __future__ import annotations

import io
import json
import os
import posixpath
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from notebook_containers.errors import InvalidArgument

_KINDS = "bytes, str, dict and list (JSON), DataFrame (.csv, .parquet, .json), figure (.png, .svg, .pdf), Path"


@runtime_checkable
class _Table(Protocol):
    """A pandas DataFrame or Series."""

    index: object

    def to_csv(self, path_or_buf: None = None, *, index: bool) -> str: ...

    def to_json(self) -> str: ...


@runtime_checkable
class _Columns(Protocol):
    """A pandas DataFrame, which Parquet can hold."""

    def to_parquet(self) -> bytes: ...


@runtime_checkable
class _Figure(Protocol):
    """A matplotlib figure."""

    def savefig(self, fname: io.BytesIO, *, format: str) -> None: ...


def write(directory: Path, values: Mapping[str, object]) -> None:
    """Write each value to the file of its name below a directory; a name without a suffix gets its kind's (``.csv``, ``.png``, ``.json``).

    Raises InvalidArgument for a name that leads out, and for a value that has no form as a file.
    """
    for name, value in values.items():
        path = directory / _checked(_named(name, value))
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, os.PathLike):
            _copy(name, Path(value), path)
        else:
            path.write_bytes(content(path.name, value))


def content(name: str, value: object) -> bytes:
    """Return the bytes of the file ``name`` that a value becomes; its suffix says which form where there are several."""
    suffix = posixpath.splitext(name)[1].lower()
    match value:
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case str():
            return value.encode("utf-8", "surrogateescape")
        case _Table():
            return _table(name, value, suffix)
        case _Figure():
            return _figure(name, value, suffix)
        case dict() | list() | tuple() | int() | float() | bool() | None:
            return _json(name, value)
    raise InvalidArgument(f"{name}: a {type(value).__name__} has no form as a file", hint=f"possible are {_KINDS}")


def _named(name: str, value: object) -> str:
    if posixpath.splitext(name)[1] or isinstance(value, str | bytes | bytearray | memoryview):
        return name
    match value:
        case os.PathLike():
            return name + Path(value).suffix
        case _Table():
            return f"{name}.csv"
        case _Figure():
            return f"{name}.png"
    return f"{name}.json"


def _checked(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in name or name.startswith("/"):
        raise InvalidArgument(f"{name!r} is no file of a build context", hint="a name such as data.csv or data/table.csv")
    return "/".join(parts)


def _table(name: str, value: _Table, suffix: str) -> bytes:
    if suffix == ".parquet":
        if not isinstance(value, _Columns):
            raise InvalidArgument(f"{name}: a {type(value).__name__} cannot be Parquet", hint="name it .csv")
        try:
            return value.to_parquet()
        except ImportError as err:
            raise InvalidArgument(f"{name}: Parquet needs the library pyarrow", hint="pip install pyarrow, or name it .csv") from err
    if suffix == ".json":
        return value.to_json().encode()
    return value.to_csv(index=type(value.index).__name__ != "RangeIndex").encode()


def _figure(name: str, value: _Figure, suffix: str) -> bytes:
    raw = io.BytesIO()
    try:
        value.savefig(raw, format=suffix.removeprefix(".") or "png")
    except ValueError as err:
        raise InvalidArgument(f"{name}: {err}".rstrip("."), hint="name it .png, .svg or .pdf") from err
    return raw.getvalue()


def _json(name: str, value: object) -> bytes:
    try:
        return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "surrogateescape")
    except (TypeError, ValueError) as err:
        reason = str(err)[:200].rstrip(".").lower()
        raise InvalidArgument(f"{name}: JSON cannot hold it: {reason}", hint="convert it to text first") from err


def _copy(name: str, source: Path, path: Path) -> None:
    try:
        if source.is_dir():
            shutil.copytree(source, path, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, path)
            shutil.copymode(source, path)
    except OSError as err:
        raise InvalidArgument(f"{name}: {source} cannot be read: {(err.strerror or str(err)).lower()}", hint="check the path") from err

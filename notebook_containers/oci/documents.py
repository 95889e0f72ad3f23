"""JSON documents as frozen dataclasses: one base class, no reflection beyond the dataclass fields.

A field's JSON name is its Python name unless ``named(...)`` gives another. Absent and ``null`` both give the default; a default
is not written, unless the field is ``always()`` there. Unknown members are dropped.
Untrusted bytes enter through :func:`untrusted_json` only.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Self, TypeAlias

from notebook_containers.errors import InvalidDocument
from notebook_containers.lean import MISSING, Field, dataclass, fields

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
_MOST_CONTAINERS = 100_000
"""Objects and lists of one document, brackets inside texts included: each takes fifty times its two bytes in memory."""


def untrusted_json(data: bytes, *, what: str, max_bytes: int = MAX_DOCUMENT_BYTES) -> dict[str, JSON]:
    """Parse bytes from outside into a JSON object; raises InvalidDocument for anything doubtful.

    Refused: more than ``max_bytes``, invalid UTF-8, half a character (a lone surrogate), nesting deeper than 64, duplicate keys,
    NaN/Infinity, integers beyond 64 bits, a top level that is no object (CVE-2021-41190 is why duplicates and doubt are errors).
    """
    if len(data) > max_bytes:
        raise InvalidDocument(f"{what} is {len(data)} bytes, more than the {max_bytes} allowed")
    if data.count(b"{") + data.count(b"[") > _MOST_CONTAINERS:
        raise InvalidDocument(f"{what} has more than the {_MOST_CONTAINERS} objects and lists allowed")
    try:
        value: JSON = json.loads(
            data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_int=_bounded_int
        )
        _check_depth(value, MAX_DEPTH)
        if b"\\ud" in data or b"\\uD" in data:
            _check_text(value)
    except RecursionError as err:
        raise InvalidDocument(f"{what} is not valid JSON: nested too deeply") from err
    except ValueError as err:
        raise InvalidDocument(f"{what} is not valid JSON: {err}") from err
    if not isinstance(value, dict):
        raise InvalidDocument(f"{what} is not a JSON object")
    return value


def _no_duplicates(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _no_constant(word: str) -> JSON:
    raise ValueError(f"{word} is no JSON number")


def _bounded_int(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise ValueError("a number does not fit in 64 bits")
    return int(text)


def _check_text(value: JSON) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text has half a character, which nothing can be called") from None


def _check_depth(value: JSON, left: int) -> None:
    if left == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        for item in value.values():
            _check_depth(item, left - 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth(item, left - 1)


def named(json_name: str) -> dict[str, str]:
    """Field metadata that gives a field its JSON name: ``field(default=(), metadata=named("Cmd"))``."""
    return {"json": json_name}


def always(json_name: str = "") -> dict[str, str]:
    """Field metadata for a member that is written even when it equals its default."""
    return {"always": "yes", **({"json": json_name} if json_name else {})}


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a type hint asks of a JSON value, worked out once: ``kind`` is free, list, map, document or scalar."""

    kind: str
    hint: object
    inner: _Shape | None = None


@dataclass(frozen=True, slots=True)
class _Member:
    """One field of a document class."""

    name: str
    json_name: str
    field: Field[object]
    always: bool
    required: bool


@cache
def _members(cls: type[Document]) -> tuple[_Member, ...]:
    return tuple(_member(field) for field in fields(cls))  # type: ignore[arg-type]


def _member(field: Field[object]) -> _Member:
    json_name, required = field.metadata.get("json", field.name), field.default is MISSING and field.default_factory is MISSING
    return _Member(field.name, json_name, field, "always" in field.metadata, required)


@cache
def _shapes(cls: type[Document]) -> Mapping[str, _Shape]:
    """Return name → shape; asked for when a document is read: to resolve the hints takes longer than all the rest."""
    return {name: _shape(hint) for name, hint in typing.get_type_hints(cls).items()}


def _shape(hint: object) -> _Shape:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is object:
        return _Shape("free", hint)
    if origin in (typing.Union, types.UnionType):
        return _shape(next(a for a in args if a is not type(None)))
    if origin is tuple:
        return _Shape("list", hint, _shape(args[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _Shape("map", hint, _shape(args[1]))
    if isinstance(hint, type) and issubclass(hint, Document):
        return _Shape("document", hint)
    return _Shape("scalar", hint)


class Document:
    """Base of frozen, slotted, keyword-only dataclasses that have a JSON form.

    Their decorator says ``repr=False, eq=False``: what is here does the same for all of them, and is not compiled anew for each class,
    which takes a third of the time that the class takes, at every start of the program.
    """

    __slots__ = ()

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, member.name) for member in _members(type(self)))  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        """Tell whether the other is of the same class and has the same values."""
        return self._values() == other._values() if isinstance(other, Document) and type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        """Hash the values; TypeError when one of them cannot be."""
        return hash(self._values())

    def __repr__(self) -> str:
        """Return the call that makes it."""
        shown = [field.name for field in fields(self) if field.repr]  # type: ignore[arg-type]
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> Self:
        """Build the value from a parsed JSON object; raises InvalidDocument naming the member of a wrong type."""
        values: dict[str, object] = {}
        for member in _members(cls):  # type: ignore[arg-type]
            raw = data.get(member.json_name)
            if raw is not None:
                values[member.name] = _decode(_shapes(cls)[member.name], raw, cls, member.json_name)  # type: ignore[arg-type]
            elif member.required:
                raise InvalidDocument(f"{cls.__name__} has no {member.json_name}")
        return cls(**values)

    def to_json(self) -> dict[str, JSON]:
        """Return the JSON object; members equal to their default are left out."""
        result: dict[str, JSON] = {}
        for member in _members(type(self)):  # type: ignore[arg-type]
            value, field = getattr(self, member.name), member.field
            default = field.default_factory() if field.default_factory is not MISSING else field.default
            if value != default or member.always:
                result[member.json_name] = _encode(value)
        return result

    def to_bytes(self) -> bytes:
        """Return the JSON text as stable UTF-8 bytes: the same value gives the same bytes."""
        return json.dumps(self.to_json(), separators=(",", ":"), ensure_ascii=False).encode()


_PLAIN = frozenset({str, int, bool, float, type(None)})


def _encode(value: object) -> JSON:
    if type(value) in _PLAIN:
        return value  # type: ignore[return-value]
    if isinstance(value, Document):
        return value.to_json()
    if isinstance(value, (tuple, list)):
        return [_encode(v) for v in value]
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(k): _encode(v) for k, v in value.items()}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _decode(shape: _Shape, raw: JSON, owner: type, *path: str) -> object:
    if shape.kind == "free" or (shape.kind == "scalar" and type(raw) is shape.hint):
        return raw
    if shape.kind == "list" and shape.inner:
        if not isinstance(raw, list):
            raise InvalidDocument(f"{_where(owner, path)} is not a list")
        return tuple([_decode(shape.inner, item, owner, *path) for item in raw])
    if shape.kind == "map" and shape.inner:
        if not isinstance(raw, dict):
            raise InvalidDocument(f"{_where(owner, path)} is not an object")
        return {key: _decode(shape.inner, item, owner, *path, key) for key, item in raw.items()}
    if isinstance(shape.hint, type) and issubclass(shape.hint, Document):
        if not isinstance(raw, dict):
            raise InvalidDocument(f"{_where(owner, path)} is not an object")
        return shape.hint.from_json(raw)
    return _scalar(shape.hint, raw, _where(owner, path))


def _where(owner: type, path: tuple[str, ...]) -> str:
    return ".".join((owner.__name__, *path))


def _scalar(hint: object, raw: JSON, where: str) -> object:
    if hint is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if hint in (bool, int, float) and type(raw) is hint:
        return raw
    if isinstance(hint, type) and issubclass(hint, str) and isinstance(raw, str):
        return hint(raw)
    kind = getattr(hint, "__name__", str(hint))
    raise InvalidDocument(f"{where} is {type(raw).__name__}, not {kind}")

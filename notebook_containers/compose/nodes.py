"""A compose file's values as a tree that knows where each of them comes from: file, line and column, variables, or a default.

Nodes are never changed: every step makes new ones, and a node made from another keeps its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from notebook_containers.errors import ComposeError
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.documents import JSON


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Text:
    """A text that was read: its name as told to people, its lines, and its absolute path ("" when it is no file)."""

    name: str
    lines: tuple[str, ...] = field(default=(), repr=False)
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A variable that a value was filled with: None when nothing sets it; ``source`` says who does ("environment", ".env:3", "default")."""

    name: str
    value: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value comes from: line and column count from 1; 0 is for what no text says, then ``reason`` does."""

    text: Text
    line: int = 0
    column: int = 0
    uses: tuple[Use, ...] = ()
    reason: str = ""

    def error(self, path: str, message: str, *, hint: str = "") -> ComposeError:
        """Return an error that points here: ``compose.yaml:3:5: services.web.image: …``."""
        source = self.text.lines[self.line - 1] if 0 < self.line <= len(self.text.lines) else ""
        where = f"{self.text.name}:{self.line}:{self.column}" if self.line else self.text.name
        told = f"{path}: {message}" if path else message
        return ComposeError(f"{where}: {told}", hint=hint, file=self.text.name, line=self.line, column=self.column, source=source)


Fields: TypeAlias = "dict[str, Node]"
Items: TypeAlias = "list[Node]"
Value: TypeAlias = "str | int | float | bool | Fields | Items | None"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One value: a scalar, a list or a mapping of nodes.

    ``key`` is where its key stands, in a mapping. ``raw`` is how a number or a truth value was written. ``mark`` is "reset" or "override"
    for the tags of merging.
    """

    value: Value
    place: Place
    key: Place | None = None
    raw: str = ""
    mark: str = ""

    @property
    def fields(self) -> Fields:
        """The members of a mapping; none for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> Items:
        """The items of a list; none for anything else."""
        return self.value if isinstance(self.value, list) else []

    def with_value(self, value: Value, *, raw: str = "") -> Node:
        """Return another value from the same place."""
        return Node(value=value, place=self.place, key=self.key, raw=raw, mark=self.mark)  # quicker than replace: it is called most

    def with_key(self, key: Place) -> Node:
        """Return the same value as a member whose key stands there."""
        return Node(value=self.value, place=self.place, key=key, raw=self.raw, mark=self.mark)

    def text(self) -> str:
        """Return a scalar as the file has it: ``1.10`` stays so, true is "true", nothing is ""."""
        if self.raw:
            return self.raw.lower() if isinstance(self.value, bool) else self.raw
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        return "" if self.value is None else str(self.value)

    def error(self, path: str, message: str, *, hint: str = "") -> ComposeError:
        """Return an error at this value; for a mapping or a list, at its key."""
        whole = isinstance(self.value, (dict, list)) or self.value is None
        return (self.key if whole and self.key else self.place).error(path, message, hint=hint)

    def key_error(self, path: str, message: str, *, hint: str = "") -> ComposeError:
        """Return an error at this value's key."""
        return (self.key or self.place).error(path, message, hint=hint)


def default(value: Value, place: Place, reason: str) -> Node:
    """Return a value that no file gives, with the reason why it is there; an error about it points at what brought it here."""
    return Node(value=value, place=replace(place, uses=(), reason=reason))


def joined(path: str, key: str) -> str:
    """Return the path of a member: ``services.web``; a key with a dot stands in quotes."""
    word = f'"{key}"' if "." in key or "[" in key else key
    return f"{path}.{word}" if path else word


def plain(node: Node) -> JSON:
    """Return the value alone, as plain data."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


def near(word: str, known: Iterable[str]) -> str:
    """Return a hint for a wrong word: the nearest right one, else the first of them all."""
    import difflib

    words = list(known)
    close = difflib.get_close_matches(word, words, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return ("there are: " if len(words) <= 12 else "some are: ") + ", ".join(words[:12]) if words else "there are none"


def leaves(node: Node, path: str = "") -> Iterable[tuple[str, Node]]:
    """Yield the path and node of every scalar and of every empty list or mapping."""
    if isinstance(node.value, dict) and node.value:
        for key, item in node.value.items():
            yield from leaves(item, joined(path, key))
    elif isinstance(node.value, list) and node.value:
        for index, item in enumerate(node.value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, node


def member(node: Node, *keys: str) -> Node | None:
    """Return a member of a member, or None."""
    found: Node | None = node
    for key in keys:
        found = found.fields.get(key) if found else None
    return found


def with_fields(node: Node, changes: Mapping[str, Node]) -> Node:
    """Return a mapping with members replaced or added."""
    return node.with_value({**node.fields, **changes})

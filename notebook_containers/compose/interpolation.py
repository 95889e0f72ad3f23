"""Variables in a compose file's values: ``$NAME``, ``${NAME}``, and in braces ``:-`` ``-`` ``:?`` ``?`` ``:+`` ``+`` with a word.

The word may hold variables again. What a variable holds is never read again, and never run. ``$$`` is a dollar sign.
"""

from __future__ import annotations

import re

from notebook_containers.compose.nodes import Node, Use, joined
from notebook_containers.compose.variables import Variables
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass, replace

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_MOST_NESTED = 32
_MOST_CHARACTERS = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A text with its variables filled in, and which they were."""

    text: str
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A variable that a text names: whether it must be set, its default, and the word that stands in for it when it is set."""

    name: str
    required: bool = False
    default: str = ""
    alternate: str = ""

    def also(self, other: Named | None) -> Named:
        """Return what this place and another one say together."""
        if other is None:
            return self
        required = self.required or other.required
        return replace(self, required=required, default=other.default or self.default, alternate=other.alternate or self.alternate)


def named(text: str) -> list[Named]:
    """Return the variables that a text names, those in defaults too; a malformed text names none."""
    try:
        filler = _Filler(text, Variables([]), noting=True)
        filler.until_end()
    except InvalidArgument:
        return []
    return filler.noted


def fill(text: str, variables: Variables) -> Filled:
    """Return the text with its variables filled in; raises InvalidArgument for a malformed one and for one that must be set."""
    filler = _Filler(text, variables)
    return Filled(text=filler.until_end(), uses=tuple(filler.uses))


def fill_tree(root: Node, variables: Variables, path: str = "") -> Node:
    """Return the tree with the variables of every text filled in, each value knowing which; raises ComposeError at the place.

    Keys are left alone. What stands at several places through aliases is filled in once.
    """
    done: dict[int, Node] = {}

    def walk(node: Node, path: str) -> Node:
        if id(node) not in done:
            if isinstance(node.value, dict):
                done[id(node)] = node.with_value({key: walk(one, joined(path, key)) for key, one in node.value.items()})
            elif isinstance(node.value, list):
                done[id(node)] = node.with_value([walk(one, f"{path}[{index}]") for index, one in enumerate(node.value)])
            else:
                done[id(node)] = _filled(node, variables, path)
        return done[id(node)]

    return walk(root, path)


def _filled(node: Node, variables: Variables, path: str) -> Node:
    if not isinstance(node.value, str) or "$" not in node.value:
        return node
    try:
        found = fill(node.value, variables)
    except InvalidArgument as err:
        raise node.place.error(path, err.message, hint=err.hint) from err
    return replace(node, value=found.text, place=replace(node.place, uses=found.uses))


class _Filler:
    """Reads a text once, from left to right."""

    def __init__(self, text: str, variables: Variables, *, noting: bool = False) -> None:
        self._text, self._variables, self._at, self._depth = text, variables, 0, 0
        self._written, self._idle = 0, False
        self.uses: list[Use] = []
        self.noted: list[Named] = []
        self._noting = noting

    def until_end(self) -> str:
        return self._read(inside=False)

    def _read(self, *, inside: bool) -> str:
        """Return what follows, up to the end or, inside braces, up to the closing one (which is taken)."""
        found: list[str] = []
        while self._at < len(self._text):
            stop = self._next_special(inside)
            found.append(self._text[self._at : stop])
            self._at = stop + 1
            if stop == len(self._text):
                break
            if self._text[stop] == "}":
                return "".join(found)
            found.append(self._variable())
        if inside:
            raise self._malformed()
        return "".join(found)

    def _next_special(self, inside: bool) -> int:
        dollar = self._text.find("$", self._at)
        brace = self._text.find("}", self._at) if inside else -1
        ends = [at for at in (dollar, brace) if at >= 0]
        return min(ends, default=len(self._text))

    def _variable(self) -> str:
        if self._text.startswith("$", self._at):
            self._at += 1
            return "$"
        braces = self._text.startswith("{", self._at)
        self._at += braces
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise self._malformed()
        self._at = match.end()
        if self._noting and not braces:
            self.noted.append(Named(name=match[0]))
        value = self._braced(match[0]) if braces else self._used(self._variables.find(match[0])) or ""
        self._written += len(value)
        if self._written > _MOST_CHARACTERS:
            raise InvalidArgument(f"the variables of {self._text[:80]!r} make it too long")
        return value

    def _used(self, use: Use) -> str | None:
        self.uses.append(use)
        return use.value

    def _braced(self, name: str) -> str:
        use = self._variables.find(name)
        operator = _OPERATOR.match(self._text, self._at)
        if operator is None:
            if not self._text.startswith("}", self._at):
                raise self._malformed()
            self._at += 1
            if self._noting:
                self.noted.append(Named(name=name))
            return self._used(use) or ""
        self._at = operator.end()
        empty = use.value is None or (operator[0].startswith(":") and not use.value)
        kind = operator[0][-1]
        begun = self._at
        word, inner = self._word(wanted=self._noting or empty != (kind == "+"))
        if self._noting:
            written = self._text[begun : self._at - 1]
            self.noted.append(
                Named(name=name, required=kind == "?", default=written if kind == "-" else "", alternate=written if kind == "+" else "")
            )
            return ""
        return self._chosen(use, kind, empty, word, inner)

    def _word(self, *, wanted: bool) -> tuple[str, list[Use]]:
        """Return the word behind an operator and the variables in it; one that is not ``wanted`` is read over, and needs nothing."""
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise self._malformed()
        before, self.uses = self.uses, []
        idle, self._idle = self._idle, self._idle or not wanted
        word = self._read(inside=True)
        inner, self.uses, self._idle = self.uses, before, idle
        self._depth -= 1
        return word, inner

    def _chosen(self, use: Use, kind: str, empty: bool, word: str, inner: list[Use]) -> str:
        if kind == "?" and empty and not self._idle:
            raise InvalidArgument(f"the variable {use.name} is needed: {word or 'it is not set'}", hint=f"set {use.name}")
        if kind == "-" and empty:
            self.uses += [replace(use, value=word, source="default"), *inner]
            return word
        if kind == "+":
            self.uses += [replace(use, value="" if empty else use.value), *([] if empty else inner)]
            return "" if empty else word
        self.uses.append(use)
        return use.value or ""

    def _malformed(self) -> InvalidArgument:
        return InvalidArgument(f"{self._text[:80]!r} has a malformed variable", hint="write ${NAME}, and $$ for a dollar sign")

"""``--format``: the templates of Go's text/template that people write for Docker, parsed into a tree; pure.

Known are fields, variables, literals, pipelines, ``if``, ``with``, ``range`` (each with ``else``), comments, and ``{{-``/``-}}``.
:mod:`.filling` gives a tree its values. Source: the package documentation of text/template.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TypeAlias

from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass

_ACTION = re.compile(r"\{\{(?:-(?=\s))?\s*(/\*.*?\*/|(?:\"(?:\\.|[^\"\\])*\"|`[^`]*`|[^}\"`]|\}(?!\}))*?)\s*(?:(?<=\s)-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<field>(?:\.[^\W\d]\w*)+)"""
    r"""|(?P<variable>\$\w*)|(?P<word>[^\W\d]\w*)|(?P<mark>:=|[.()|=,]))"""
)
_CONSTANTS = {"true": True, "false": False, "nil": None}
_BLOCKS = ("if", "with", "range")
_MOST_LEVELS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A text, a number, true, false or nil."""

    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Fields of a base: the current value (``.``), a variable (``$``, ``$name``) or an expression in parentheses."""

    base: str | Pipeline
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function, or a path, with its arguments."""

    head: str | Path | Literal
    arguments: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Calls, each with the value of the one before as its last argument; the outcome goes to ``variables`` when there are some."""

    calls: tuple[Call, ...]
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """``{{pipeline}}``, with its text as it stands in the template."""

    text: str
    pipeline: Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """``{{if}}``, ``{{with}}`` or ``{{range}}`` (``word``) up to its ``{{end}}``."""

    word: str
    text: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


Expression: TypeAlias = "Literal | Path | Call | Pipeline"
Node: TypeAlias = "str | Action | Block"


def parse(template: str) -> tuple[Node, ...]:
    """Parse a template; InvalidArgument shows the action that is not understood."""
    parser = _Parser(_pieces(template))
    nodes, end = parser.nodes(0)
    if end:
        raise _error(end, "it closes nothing")
    return nodes


def _error(action: str, why: str = "") -> InvalidArgument:
    return InvalidArgument(
        f"template {action!r} is not understood" + (f": {why}" if why else ""),
        hint="write {{.Field}}, {{json .Field}} or {{if .Field}}…{{end}}, as for docker",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Text, or an action: the words between the braces and the whole as it was written."""

    text: str
    words: str | None = None


def _pieces(template: str) -> list[_Piece]:
    found: list[_Piece] = []
    position, trim = 0, False
    for match in _ACTION.finditer(template):
        text = template[position : match.start()]
        text = text.lstrip() if trim else text
        found.append(_Piece(text=text.rstrip() if re.match(r"\{\{-\s", match[0]) else text))
        if not match[1].startswith("/*"):
            found.append(_Piece(text=match[0], words=match[1]))
        position, trim = match.end(), bool(re.search(r"\s-\}\}$", match[0]))
    rest = template[position:]
    if "{{" in rest:
        raise _error(rest[rest.index("{{") :], "its braces are not closed")
    return [*found, _Piece(text=rest.lstrip() if trim else rest)]


class _Parser:
    """Goes through the pieces once."""

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        self._pieces = list(reversed(pieces))

    def nodes(self, depth: int) -> tuple[tuple[Node, ...], str]:
        """Return the nodes up to ``end``, ``else`` or the end of the text, and that action (empty at the end)."""
        found: list[Node] = []
        while self._pieces:
            piece = self._pieces.pop()
            if piece.words is None:
                found.append(piece.text)
                continue
            first, _, rest = piece.words.partition(" ")
            if first in ("end", "else"):
                return tuple(found), piece.words
            if first in _BLOCKS:
                found.append(self._block(first, rest, piece.text, depth))
            else:
                found.append(Action(text=piece.text, pipeline=_pipeline(piece.words, piece.text)))
        return tuple(found), ""

    def _block(self, word: str, rest: str, text: str, depth: int) -> Block:
        if depth > _MOST_LEVELS:
            raise _error(text, "too many blocks in one another")
        pipeline = _pipeline(rest, text)
        body, end = self.nodes(depth + 1)
        otherwise: tuple[Node, ...] = ()
        if end.startswith("else "):
            again, _, condition = end.removeprefix("else ").strip().partition(" ")
            otherwise = (self._block(again, condition, f"{{{{{end}}}}}", depth + 1),)
            return Block(word=word, text=text, pipeline=pipeline, body=body, otherwise=otherwise)
        if end == "else":
            otherwise, end = self.nodes(depth + 1)
        if end != "end":
            raise _error(text, "there is no {{end}} for it")
        return Block(word=word, text=text, pipeline=pipeline, body=body, otherwise=otherwise)


def _pipeline(words: str, action: str) -> Pipeline:
    tokens = _Tokens(words, action)
    found = tokens.pipeline()
    if tokens.left():
        raise _error(action)
    return found


class _Tokens:
    """The words of one action."""

    def __init__(self, words: str, action: str) -> None:
        self._action = action
        self._tokens: list[tuple[str, str, bool]] = []  # kind, text, whether a space stands before it
        position = 0
        while words[position:].strip():
            match = _TOKEN.match(words, position)
            if match is None:
                raise _error(action)
            kind = match.lastgroup or ""
            self._tokens.append((kind, match[kind], match.start(kind) > position))
            position = match.end()
        self._tokens.reverse()

    def left(self) -> bool:
        """Tell whether there are words left."""
        return bool(self._tokens)

    def pipeline(self) -> Pipeline:
        """Parse ``$a, $b := call | call``."""
        variables = self._variables()
        calls = [self._call()]
        while self._is("|"):
            self._tokens.pop()
            calls.append(self._call())
        return Pipeline(calls=tuple(calls), variables=variables)

    def _is(self, mark: str) -> bool:
        return bool(self._tokens) and self._tokens[-1][:2] == ("mark", mark)

    def _variables(self) -> tuple[str, ...]:
        ahead = [token[:2] for token in reversed(self._tokens[-4:])]
        for place in (1, 3):
            if len(ahead) > place and ahead[place] in (("mark", ":="), ("mark", "=")):
                names = [text for kind, text in ahead[:place] if kind == "variable"]
                del self._tokens[-place - 1 :]
                return tuple(names)
        return ()

    def _call(self) -> Call:
        if not self._tokens:
            raise _error(self._action, "there is nothing in it")
        kind, text, _space = self._tokens[-1]
        if kind == "word" and text not in _CONSTANTS:
            self._tokens.pop()
            return Call(head=text, arguments=self._arguments())
        head = self._operand()
        return Call(head=head, arguments=self._arguments())

    def _arguments(self) -> tuple[Expression, ...]:
        found: list[Expression] = []
        while self._tokens and not self._is("|") and not self._is(")"):
            found.append(self._operand())
        return tuple(found)

    def _operand(self) -> Path | Literal:
        kind, text, _space = self._tokens.pop()
        if kind == "text":
            return Literal(value=text[1:-1] if text[0] == "`" else _unquoted(text, self._action))
        if kind == "number":
            return Literal(value=float(text) if "." in text else int(text))
        if kind == "word":
            return Literal(value=_CONSTANTS[text]) if text in _CONSTANTS else Path(base=Pipeline(calls=(Call(head=text),)))
        if kind == "field":
            return Path(base=".", fields=tuple(text[1:].split(".")))
        if kind == "variable":
            return Path(base=text, fields=self._fields())
        if text == ".":
            return Path(base=".")
        if text == "(":
            inner = self.pipeline()
            if not self._is(")"):
                raise _error(self._action, "a parenthesis is not closed")
            self._tokens.pop()
            return Path(base=inner, fields=self._fields())
        raise _error(self._action)

    def _fields(self) -> tuple[str, ...]:
        """Take fields that follow without a space."""
        if self._tokens and self._tokens[-1][0] == "field" and not self._tokens[-1][2]:
            return tuple(self._tokens.pop()[1][1:].split("."))
        return ()


def _unquoted(text: str, action: str) -> str:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        raise _error(action, "a text in it has a wrong escape") from None
    return str(value)

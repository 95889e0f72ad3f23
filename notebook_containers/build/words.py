"""The Dockerfile's word rules: quotes, escapes and variables, as the Dockerfile reference has them ("Environment replacement").

Everything here is pure and linear in the length of its text; nesting of ``${…:-…}`` is bounded. Errors are :class:`WordError` with
an offset into the text; the parser's callers turn the offset into a line and a column.
"""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.build import substitutions
from notebook_containers.lean import dataclass

MAX_NESTING = 50
_SPECIAL = "@*#?-$!"
_MODIFIERS = "-+?"
_PATTERNS = "#%/"
_CLOSE = "close it, or write {} for the character itself"
_KNOWN = "there are :- - :+ + :? ? # ## % %% / //"


class WordError(ValueError):
    """Text that breaks the word rules: ``offset`` and ``length`` are in characters of the given text; ``hint`` says what to do."""

    def __init__(self, message: str, *, offset: int, length: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.offset, self.length, self.hint = message, offset, max(length, 1), hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word as written, quotes and escapes included, and where it starts."""

    text: str
    offset: int

    @property
    def end(self) -> int:
        """The offset after the last character."""
        return self.offset + len(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """What expanding gave: the whole ``text``, the same split at blanks outside quotes, and the variables met that are not set."""

    text: str
    words: tuple[str, ...]
    unset: tuple[str, ...]


def split(text: str, *, escape: str = "\\", start: int = 0) -> tuple[Word, ...]:
    """Cut text at blanks that are neither quoted nor escaped; the words keep their quotes and escapes (an open quote runs to the end)."""
    words: list[Word] = []
    at, begin, quote = start, -1, ""
    while at < len(text):
        char = text[at]
        if begin < 0 and not char.isspace():
            begin = at
        if char == escape and quote != "'":
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace() and begin >= 0:
            words.append(Word(text=text[begin:at], offset=begin))
            begin = -1
        at += 1
    if begin >= 0:
        words.append(Word(text=text[begin:], offset=begin))
    return tuple(words)


def expand(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> Expansion:
    """Replace variables, strip quotes and escapes; raises WordError for an open quote, a bad substitution or a failed ``${v:?}``."""
    reader = _Reader(text, variables, escape)
    reader.until("", depth=0, opened=0)
    return Expansion(text="".join(reader.out), words=tuple(reader.finished()), unset=tuple(dict.fromkeys(reader.unset)))


def expand_heredoc(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> Expansion:
    """Replace variables in a heredoc's text as a shell does: quotes are ordinary, the escape works before ``$`` and itself only."""
    reader = _Reader(text, variables, escape)
    reader.heredoc()
    result = "".join(reader.out)
    return Expansion(text=result, words=(result,), unset=tuple(dict.fromkeys(reader.unset)))


class _Reader:
    """One left-to-right pass; ``out`` collects pieces, ``words`` the same pieces split at unquoted blanks."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str) -> None:
        self.text, self.variables, self.escape = text, variables, escape
        self.at = 0
        self.out: list[str] = []
        self.words: list[str] = []
        self.word: list[str] | None = None
        self.unset: list[str] = []

    def finished(self) -> list[str]:
        if self.word is not None:
            self.words.append("".join(self.word))
            self.word = None
        return self.words

    def _quoted(self, piece: str) -> None:
        self.out.append(piece)
        self.word = self.word or []
        self.word.append(piece)

    def _bare(self, piece: str) -> None:
        self.out.append(piece)
        for char in piece:
            if not char.isspace():
                self.word = self.word or []
                self.word.append(char)
            elif self.word is not None:
                self.words.append("".join(self.word))
                self.word = None

    def until(self, stops: str, *, depth: int, opened: int) -> None:
        """Read to one of ``stops`` (consumed), or to the end when there are none; ``opened`` is where a missing one is blamed."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in stops:
                self.at += 1
                return
            if char == "'":
                self._quoted(self._single())
            elif char == '"':
                self._quoted(self._double(depth))
            elif char == "$":
                self._bare(self._dollar(depth))
            elif char == self.escape:
                if self.at + 1 < len(self.text):
                    self._quoted(self.text[self.at + 1])
                self.at += 2
            else:
                self._bare(char)
                self.at += 1
        if stops:
            raise WordError(
                f"no {stops[-1]!r} closes the substitution that opens here", offset=opened, length=2, hint="${NAME}, ${NAME:-default}"
            )

    def heredoc(self) -> None:
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == self.escape and self.text[self.at + 1 : self.at + 2] in ("$", self.escape):
                self.out.append(self.text[self.at + 1])
                self.at += 2
            elif char == "$":
                self.out.append(self._dollar(0))
            else:
                self.out.append(char)
                self.at += 1

    def _single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise WordError("this single quote is not closed", offset=self.at, hint=_CLOSE.format(self.escape + "'"))
        piece = self.text[self.at + 1 : end]
        self.at = end + 1
        return piece

    def _double(self, depth: int) -> str:
        begin = self.at
        pieces: list[str] = []
        self.at += 1
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                return "".join(pieces)
            if char == "$":
                pieces.append(self._dollar(depth))
                continue
            if char == self.escape and self.at + 1 < len(self.text):
                self.at += 1
                if self.text[self.at] not in ('"', "$", self.escape):
                    pieces.append(char)
                char = self.text[self.at]
            pieces.append(char)
            self.at += 1
        raise WordError("this double quote is not closed", offset=begin, hint=_CLOSE.format(self.escape + '"'))

    def _dollar(self, depth: int) -> str:
        begin = self.at
        self.at += 1
        if self.text[self.at : self.at + 1] == "{":
            self.at += 1
            return self._braces(begin, depth)
        name = self._name()
        return self._value(name) if name else "$"

    def _name(self) -> str:
        begin = self.at
        if self.text[begin : begin + 1].isdigit() or self.text[begin : begin + 1] in tuple(_SPECIAL):
            self.at += 1
            return self.text[begin : self.at]
        while self.at < len(self.text) and (self.text[self.at] == "_" or (self.text[self.at].isascii() and self.text[self.at].isalnum())):
            self.at += 1
        return self.text[begin : self.at]

    def _value(self, name: str) -> str:
        if name not in self.variables:
            self.unset.append(name)
        return self.variables.get(name, "")

    def _braces(self, begin: int, depth: int) -> str:
        if depth >= MAX_NESTING:
            raise WordError(
                f"substitutions are nested more than {MAX_NESTING} deep", offset=begin, length=2, hint="set a variable with ARG in between"
            )
        name = self._name()
        if not name:
            raise WordError("bad substitution: ${ needs a variable's name", offset=begin, length=2, hint="${NAME}, ${NAME:-default}")
        modifier = self.text[self.at : self.at + 1]
        if modifier == "}":
            self.at += 1
            return self._value(name)
        if modifier and modifier in _PATTERNS:
            return self._substitution(name, depth, begin)
        if modifier == ":":
            modifier = self.text[self.at : self.at + 2]
        if not modifier or modifier[-1] not in _MODIFIERS:
            self._refuse(begin, name, modifier)
        self.at += len(modifier)
        word = self._inner(depth, begin)
        return self._choose(name, modifier, word, begin)

    def _refuse(self, begin: int, name: str, modifier: str) -> None:
        if not modifier or self.text.find("}", begin) < 0:
            raise WordError(f"no '}}' closes ${{{name}", offset=begin, length=2 + len(name), hint="${NAME}, ${NAME:-default}")
        raise WordError(
            f"unsupported modifier {modifier!r} in ${{{name}…}}", offset=begin, length=2 + len(name) + len(modifier), hint=_KNOWN
        )

    def _substitution(self, name: str, depth: int, begin: int) -> str:
        """``#`` ``##`` ``%`` ``%%`` ``/`` ``//``: the pattern is what stands quoted taken literally."""
        kind = self.text[self.at]
        twice = self.text[self.at + 1 : self.at + 2] == kind
        self.at += 2 if twice else 1
        pattern, stopped = self._pattern("/}" if kind == "/" else "}", depth, begin)
        replacement = self._inner(depth, begin) if stopped == "/" else ""
        value = self._value(name)
        if kind == "#":
            return substitutions.without_prefix(value, pattern, longest=twice)
        if kind == "%":
            return substitutions.without_suffix(value, pattern, longest=twice)
        return substitutions.replaced(value, pattern, replacement, everywhere=twice)

    def _pattern(self, stops: str, depth: int, begin: int) -> tuple[str, str]:
        inner = _PatternReader(self.text, self.variables, self.escape)
        return self._nested(inner, stops, depth, begin), self.text[self.at - 1]

    def _inner(self, depth: int, begin: int) -> str:
        return self._nested(_Reader(self.text, self.variables, self.escape), "}", depth, begin)

    def _nested(self, inner: _Reader, stops: str, depth: int, begin: int) -> str:
        inner.at = self.at
        inner.until(stops, depth=depth + 1, opened=begin)
        self.at = inner.at
        self.unset += inner.unset
        return "".join(inner.out)

    def _choose(self, name: str, modifier: str, word: str, begin: int) -> str:
        value = self.variables.get(name)
        missing = value is None or (modifier[0] == ":" and value == "")
        if modifier[-1] == "+":
            return "" if missing else word
        if missing and modifier[-1] == "?":
            why = word or ("may not be unset" if value is None else "may not be empty")
            raise WordError(f"{name}: {why}", offset=begin, length=self.at - begin)
        return word if missing else (value or "")


class _PatternReader(_Reader):
    """Reads a pattern: what is quoted or escaped loses its meaning there, what a variable brings keeps it."""

    def _quoted(self, piece: str) -> None:
        super()._quoted(substitutions.literal(piece))

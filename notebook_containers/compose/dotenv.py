"""Files of variables: ``.env``, ``--env-file`` and ``env_file``, by Compose's rules.

``NAME=value`` or ``NAME: value`` a line; ``export`` before it is passed over; ``#`` begins a comment at a line's start and behind a space.
Single quotes keep a text as it is; in double quotes ``\\n``, ``\\r``, ``\\t``, ``\\"``, ``\\$`` and ``\\\\`` mean something; both may span
lines. Outside single quotes variables are filled in, from what is known outside first and then from the file's own earlier lines. A name
alone takes its value from outside. Nothing is ever run: ``$(date)`` is a malformed variable.
"""

from __future__ import annotations

import re

from notebook_containers.compose.interpolation import fill
from notebook_containers.compose.nodes import Place, Text
from notebook_containers.compose.variables import Layer, Variables
from notebook_containers.errors import ComposeError, InvalidArgument

MOST_BYTES = 1024 * 1024
_NAME = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*", re.ASCII)
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_ESCAPE = re.compile(r'\\(["\\$nrt])')
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}
_BLANK = re.compile(r"[ \t\r\f\v]*(?:#[^\n]*)?(?:\n|\Z)")
_SPACE = re.compile(r"[ \t]*")


def parse(text: str, *, name: str, variables: Variables, source: str = "", raw: bool = False) -> Layer:
    """Return the variables of a file as a layer called ``source``; raises ComposeError with the line of what is malformed.

    ``raw`` is env_file's ``format: raw``: everything behind the first ``=`` is the value, quotes and dollars included.
    """
    reader = _RawReader if raw else _Reader
    return reader(text, name, variables, source or name).layer()


class _Reader:
    """Reads a file from start to end."""

    def __init__(self, text: str, name: str, variables: Variables, source: str) -> None:
        self._text, self._at = text.replace("\r\n", "\n"), 0
        self._whole = Text(name=name, lines=tuple(self._text.splitlines()))
        self._outside, self._source = variables, source
        self._values: dict[str, str] = {}
        self._lines: dict[str, int] = {}
        self._seen, self._newlines = 0, 0

    def layer(self) -> Layer:
        if len(self._text) > MOST_BYTES:
            raise Place(text=self._whole).error("", f"the file is larger than the {MOST_BYTES} bytes allowed")
        while self._at < len(self._text):
            blank = _BLANK.match(self._text, self._at)
            if blank:
                if blank.end() == self._at:
                    break
                self._at = blank.end()
                continue
            self._statement()
        return Layer(source=self._source, values=self._values, lines=self._lines)

    def _statement(self) -> None:
        begun = self._at
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise self._error(begun, "this is no variable", "write NAME=value")
        name, self._at = match[1], match.end()
        sign = self._text[self._at : self._at + 1]
        if sign in ("", "\n", "#"):
            inherited = self._outside.get(name)
            self._at = self._end_of_line()
            if inherited is not None:
                self._keep(name, inherited, begun)
            return
        if sign not in "=:":
            raise self._error(begun, f"there is no = behind {name}", "write NAME=value")
        self._at = _SPACE.match(self._text, self._at + 1).end()  # type: ignore[union-attr]
        self._keep(name, self._value(begun), begun)

    def _keep(self, name: str, value: str, begun: int) -> None:
        if "\0" in value:
            raise self._error(begun, f"{name} has a zero byte, which no variable can hold")
        self._values[name], self._lines[name] = value, self._line(begun)

    def _value(self, begun: int) -> str:
        quote = self._text[self._at : self._at + 1]
        if quote in ("'", '"') and quote:
            return self._quoted(quote, begun)
        end = self._end_of_line()
        text = _COMMENT.sub("", self._text[self._at : end]).rstrip()
        self._at = end
        return self._filled(text, begun)

    def _quoted(self, quote: str, begun: int) -> str:
        end = self._at + 1
        while end < len(self._text) and self._text[end] != quote:
            end += 2 if self._text[end] == "\\" and quote == '"' else 1
        if end >= len(self._text):
            raise self._error(begun, f"the quote {quote} is not closed", "close it, or write the value without quotes")
        text = self._text[self._at + 1 : end]
        self._at = end + 1
        rest = _BLANK.match(self._text, self._at)
        if rest is None:
            raise self._error(begun, "there is something behind the closing quote", "a comment may follow, nothing else")
        self._at = rest.end()
        return text if quote == "'" else self._filled(_ESCAPE.sub(lambda m: _ESCAPES[m[1]], text), begun)

    def _filled(self, text: str, begun: int) -> str:
        if "$" not in text:
            return text
        known = self._outside.before(Layer(source=self._source, values=self._values))
        try:
            return fill(text, known).text
        except InvalidArgument as err:
            raise self._error(begun, err.message, err.hint) from err

    def _end_of_line(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end

    def _line(self, at: int) -> int:
        self._newlines += self._text.count("\n", self._seen, at)  # places only go forward
        self._seen = at
        return self._newlines + 1

    def _error(self, at: int, message: str, hint: str = "") -> ComposeError:
        return Place(text=self._whole, line=self._line(at), column=1).error("", message, hint=hint)


class _RawReader(_Reader):
    """Reads lines as they are."""

    def _statement(self) -> None:
        begun, end = self._at, self._end_of_line()
        name, equals, value = self._text[begun:end].lstrip().partition("=")
        self._at = end
        found = value if equals else self._outside.get(name.strip())
        if not name.strip() or (equals and _NAME.fullmatch(name) is None):
            raise self._error(begun, "this is no variable", "write NAME=value")
        if found is not None:
            self._keep(name.strip(), found, begun)

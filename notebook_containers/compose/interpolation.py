"""Variables in a compose file's values: ``$NAME``, ``${NAME}``, ``${NAME:-default}``, ``:?``, ``:+`` and their forms without the colon.

A default may hold variables again. What a variable holds is never read again. ``$$`` is a dollar sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from notebook_containers.errors import InvalidArgument

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_MOST_NESTED = 32


def fill(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with its variables filled in; raises InvalidArgument for a malformed or a needed one."""
    return _Filler(text, variables).until_end()


class _Filler:
    """Reads a text once, from left to right."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text, self._variables, self._at, self._depth = text, variables, 0, 0

    def until_end(self) -> str:
        return self._read(inside=False)

    def _read(self, *, inside: bool) -> str:
        """Return what follows, up to the end or, inside braces, up to the closing one (which is taken)."""
        found: list[str] = []
        while self._at < len(self._text):
            ch = self._text[self._at]
            self._at += 1
            if ch == "}" and inside:
                return "".join(found)
            found.append(self._variable() if ch == "$" else ch)
        if inside:
            raise self._malformed()
        return "".join(found)

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
        return self._braced(match[0]) if braces else self._variables.get(match[0], "")

    def _braced(self, name: str) -> str:
        value = self._variables.get(name)
        operator = _OPERATOR.match(self._text, self._at)
        if operator is None:
            if not self._text.startswith("}", self._at):
                raise self._malformed()
            self._at += 1
            return value or ""
        self._at = operator.end()
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise self._malformed()
        word = self._read(inside=True)
        self._depth -= 1
        empty = value is None or (operator[0].startswith(":") and not value)
        if operator[0].endswith("-"):
            return word if empty else value or ""
        if operator[0].endswith("+"):
            return "" if empty else word
        if empty:
            raise InvalidArgument(f"the variable {name} is needed: {word or 'it is not set'}", hint=f"set {name}")
        return value or ""

    def _malformed(self) -> InvalidArgument:
        return InvalidArgument(f"{self._text[:80]!r} has a malformed variable", hint="write ${NAME}, and $$ for a dollar sign")

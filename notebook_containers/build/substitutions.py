"""The pattern substitutions of words: ``${v#p}`` ``${v##p}`` ``${v%p}`` ``${v%%p}`` ``${v/p/r}`` ``${v//p/r}``.

A pattern knows ``?`` (any one character), ``*`` (any number of any characters, slashes included, as in a shell) and ``\\x`` (the
character x). Every function here takes time in the product of the lengths of text and pattern, whatever the pattern is: no
backtracking. Source: the Dockerfile reference, "Environment replacement".
"""

from __future__ import annotations

from collections.abc import Iterable

_ANY = object()
_MANY = object()
_ALWAYS_MAGIC = "*?\\"


def literal(text: str) -> str:
    """Return a pattern that matches just this text."""
    return "".join("\\" + char if char in _ALWAYS_MAGIC else char for char in text)


def without_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """Cut the shortest or the longest beginning that the pattern matches; the value itself when none does."""
    ends = _ends(value, _tokens(pattern))
    cut = max(ends, default=0) if longest else next(iter(ends), 0)
    return value[cut:]


def without_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """Cut the shortest or the longest end that the pattern matches; the value itself when none does."""
    ends = _ends(value[::-1], _tokens(pattern)[::-1])
    cut = max(ends, default=0) if longest else next(iter(ends), 0)
    return value[: len(value) - cut]


def replaced(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    """Replace the first (or each) longest match; an empty pattern matches nothing."""
    tokens = _tokens(pattern)
    out: list[str] = []
    at = 0
    while tokens and at <= len(value):
        begin, end = _leftmost(value, at, tokens)
        if end <= begin:
            break
        out += (value[at:begin], replacement)
        at = end
        if not everywhere:
            break
    return "".join(out) + value[at:]


def _tokens(pattern: str) -> list[object]:
    tokens: list[object] = []
    escaped = False
    for char in pattern:
        if escaped or char not in _ALWAYS_MAGIC:
            tokens.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "?":
            tokens.append(_ANY)
        elif not tokens or tokens[-1] is not _MANY:
            tokens.append(_MANY)
    return [*tokens, "\\"] if escaped else tokens


def _closure(places: Iterable[int], tokens: list[object]) -> set[int]:
    """Places in the pattern, and those behind a star that matches nothing."""
    found: set[int] = set()
    for place in places:
        found.add(place)
        while place < len(tokens) and tokens[place] is _MANY:
            place += 1
            found.add(place)
    return found


def _moves(place: int, char: str, tokens: list[object]) -> int | None:
    if place == len(tokens):
        return None
    if tokens[place] is _MANY:
        return place
    return place + 1 if tokens[place] is _ANY or tokens[place] == char else None


def _ends(text: str, tokens: list[object]) -> list[int]:
    """The lengths of all beginnings that match, rising."""
    places = _closure((0,), tokens)
    ends = [0] if len(tokens) in places else []
    for index, char in enumerate(text):
        places = _closure((m for p in places if (m := _moves(p, char, tokens)) is not None), tokens)
        if not places:
            break
        if len(tokens) in places:
            ends.append(index + 1)
    return ends


def _leftmost(text: str, start: int, tokens: list[object]) -> tuple[int, int]:
    """The leftmost match from ``start`` on that is not empty, as long as it can be; ``(0, 0)`` when there is none.

    One pass: each place in the pattern remembers the earliest beginning that leads to it.
    """
    places: dict[int, int] = {}
    begin = end = -1
    for index in range(start, len(text)):
        if begin < 0:
            _start(places, index, tokens)
        places = _advance(places, text[index], tokens)
        reached = places.get(len(tokens))
        if reached is not None and (begin < 0 or reached <= begin):
            begin, end = reached, index + 1
        if begin >= 0:
            places = {p: b for p, b in places.items() if b <= begin}
            if not places:
                break
    return (begin, end) if begin >= 0 else (0, 0)


def _start(places: dict[int, int], index: int, tokens: list[object]) -> None:
    for place in _closure((0,), tokens):
        places.setdefault(place, index)


def _advance(places: dict[int, int], char: str, tokens: list[object]) -> dict[int, int]:
    after: dict[int, int] = {}
    for place, begin in places.items():
        moved = _moves(place, char, tokens)
        for reached in _closure((moved,), tokens) if moved is not None else ():
            after[reached] = min(begin, after.get(reached, begin))
    return after

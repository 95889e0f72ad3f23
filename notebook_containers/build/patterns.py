"""File name patterns in linear time: many patterns become one automaton, made deterministic as far as texts lead it.

Each character of a text costs one dictionary look-up, whatever the patterns are (``a*a*a*…`` included), and the state after ``dir/`` can
be kept and continued with the names in that directory. Syntax (Go's ``filepath.Match``, and ``**`` as .dockerignore has it): ``?`` one
character but ``/``, ``*`` any number of them, ``[a-z]`` ``[^a-z]``, ``\\x`` the character x; ``**/`` any directories or none, a last ``**``
everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_MOST_MOVES = 100_000

Test = Callable[[str], bool]


class PatternError(ValueError):
    """A pattern that is none."""


class _Star:
    """``*``: stays on anything but a slash."""


class _Deep:
    """``**/``: nothing, or everything up to and with a slash."""


class _Rest:
    """A last ``**``: stays on anything."""


Token = str | Test | type[_Star] | type[_Deep] | type[_Rest]


class State:
    """A set of places in the patterns; ``matched`` are the numbers of those that match the text read so far, in rising order."""

    __slots__ = ("alive", "matched", "moves", "places")

    def __init__(self, places: frozenset[tuple[int, int, bool]], lengths: Sequence[int]) -> None:
        self.places = places
        self.moves: dict[str, State] = {}
        self.matched = tuple(sorted({p for p, at, _ in places if at == lengths[p]}))
        self.alive = frozenset(p for p, _, _ in places)


class Automaton:
    """Matches texts against all patterns at once; with ``below`` a pattern also matches everything under what it matches."""

    def __init__(self, patterns: Sequence[str], *, deep: bool = True, below: bool = False) -> None:
        """Compile; raises PatternError for a ``[`` that is not closed or a lone last backslash."""
        self._patterns = [_tokens(p, deep) for p in patterns]
        self._lengths = [len(p) for p in self._patterns]
        self._below = below
        self._moves = 0
        self._states: dict[frozenset[tuple[int, int, bool]], State] = {}
        self.start = self._state({place for p in range(len(patterns)) for place in self._closure(p, 0)})

    def run(self, text: str, state: State | None = None) -> State:
        """Return the state after ``text``, from the start or from a state that an earlier run gave."""
        state = state or self.start
        for char in text:
            following = state.moves.get(char)
            state = self._step(state, char) if following is None else following
        return state

    def matches(self, text: str) -> bool:
        """Say whether any pattern matches the whole text."""
        return bool(self.run(text).matched)

    def _state(self, places: set[tuple[int, int, bool]]) -> State:
        key = frozenset(places)
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = State(key, self._lengths)
        return state

    def _step(self, state: State, char: str) -> State:
        places: set[tuple[int, int, bool]] = set()
        for pattern, at, inside in state.places:
            self._advance(places, pattern, at, inside, char)
        following = self._state(places)
        # A bound on memory for texts made to visit ever new states; forgotten moves are computed again.
        self._moves += 1
        if self._moves > _MOST_MOVES:
            self._moves = 0
            for known in self._states.values():
                known.moves.clear()
            self._states = {s.places: s for s in (self.start, following)}
        state.moves[char] = following
        return following

    def _advance(self, places: set[tuple[int, int, bool]], pattern: int, at: int, inside: bool, char: str) -> None:
        if at == self._lengths[pattern]:
            if self._below and (inside or char == "/"):
                places.add((pattern, at, True))
            return
        token = self._patterns[pattern][at]
        if token is _Deep:
            places.add((pattern, at, True))
            if char == "/":
                places |= self._closure(pattern, at + 1)
        elif token is _Rest or (token is _Star and char != "/"):
            places |= self._closure(pattern, at)
        elif token == char or (callable(token) and not isinstance(token, type) and token(char)):
            places |= self._closure(pattern, at + 1)

    def _closure(self, pattern: int, at: int) -> set[tuple[int, int, bool]]:
        places = {(pattern, at, False)}
        while at < self._lengths[pattern] and isinstance(self._patterns[pattern][at], type):
            at += 1
            places.add((pattern, at, False))
        return places


def _tokens(pattern: str, deep: bool) -> tuple[Token, ...]:
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            at = _stars(pattern, at, deep, tokens)
        elif char == "?":
            tokens.append(_not_slash)
        elif char == "[":
            test, at = _class(pattern, at)
            tokens.append(test)
        elif char == "\\":
            if at == len(pattern):
                raise PatternError(f"{pattern!r} ends in a lone backslash")
            tokens.append(pattern[at])
            at += 1
        else:
            tokens.append(char)
    return tuple(tokens)


def _stars(pattern: str, at: int, deep: bool, tokens: list[Token]) -> int:
    if not deep or pattern[at : at + 1] != "*":
        if not tokens or tokens[-1] is not _Star:
            tokens.append(_Star)
        return at
    at += 1
    if pattern[at : at + 1] == "/":
        at += 1
    tokens.append(_Rest if at == len(pattern) else _Deep)
    return at


def _not_slash(char: str) -> bool:
    return char != "/"


def _class(pattern: str, at: int) -> tuple[Test, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while at < len(pattern) and (pattern[at] != "]" or not ranges):
        low, at = _class_char(pattern, at)
        high = low
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            high, at = _class_char(pattern, at + 1)
        ranges.append((low, high))
    if at >= len(pattern):
        raise PatternError(f"no ] closes a [ in {pattern!r}")
    frozen = tuple(ranges)

    def test(char: str) -> bool:
        return char != "/" and any(low <= char <= high for low, high in frozen) != negated

    return test, at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int]:
    at += pattern[at] == "\\"
    if at >= len(pattern):
        raise PatternError(f"no ] closes a [ in {pattern!r}")
    return pattern[at], at + 1

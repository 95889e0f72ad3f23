""".dockerignore: which paths of a build context the build does not see (last match wins, ``!`` takes back)."""

from __future__ import annotations

import posixpath

from notebook_containers.build.patterns import Automaton, PatternError, State
from notebook_containers.errors import InvalidDocument
from notebook_containers.lean import dataclass

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One pattern and the line it stands on."""

    pattern: str
    negated: bool
    line: int


class IgnoreRules:
    """The rules of one file; paths are relative to the context, with ``/`` between their parts."""

    def __init__(self, rules: tuple[Rule, ...] = (), *, name: str = ".dockerignore") -> None:
        self.rules, self.name = rules, name
        self._negated = frozenset(i for i, r in enumerate(rules) if r.negated)
        self._automaton = Automaton([r.pattern for r in rules], below=True)

    @property
    def start(self) -> State:
        """The state of the context's own directory."""
        return self._automaton.start

    def enter(self, state: State, name: str) -> State:
        """Return the state of an entry of the directory that has ``state``; for the entries below it, enter ``"/"`` first."""
        return self._automaton.run(name, state)

    def excluded(self, state: State) -> bool:
        """Say whether the path that led to ``state`` is left out."""
        return bool(state.matched) and state.matched[-1] not in self._negated

    def may_return(self, state: State) -> bool:
        """Say whether something below an excluded directory may be taken back."""
        return not self._negated.isdisjoint(state.alive)

    def returns_below(self, path: str) -> bool:
        """Say whether something below the directory ``path`` may be taken back."""
        return self.may_return(self._automaton.run("/", self._automaton.run(path)))

    def rule_for(self, path: str) -> Rule | None:
        """Return the rule that leaves ``path`` out, or None when it is in."""
        state = self._automaton.run(path)
        return self.rules[state.matched[-1]] if self.excluded(state) else None


def read_rules(data: bytes, *, name: str = ".dockerignore") -> IgnoreRules:
    """Read the file's bytes; raises InvalidDocument naming the line of a pattern that is none."""
    rules: list[Rule] = []
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    for number, line in enumerate(text.split("\n"), 1):
        rule = None if line.startswith("#") else _rule(line.strip(), number, name)
        if rule is not None:
            rules.append(rule)
    return IgnoreRules(tuple(rules), name=name)


def _rule(text: str, line: int, name: str) -> Rule | None:
    negated = text.startswith("!")
    pattern = text[1:].strip() if negated else text
    if negated and not pattern:
        raise InvalidDocument(f"{name}, line {line}: ! stands alone", hint="a pattern follows the !")
    if not pattern:
        return None
    pattern = posixpath.normpath(pattern).lstrip("/")
    if pattern in ("", "."):
        return None
    try:
        Automaton([pattern])
    except PatternError as err:
        raise InvalidDocument(f"{name}, line {line}: {err}") from err
    return Rule(pattern=pattern, negated=negated, line=line)

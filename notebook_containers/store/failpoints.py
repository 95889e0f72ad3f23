"""Failpoints: one named line per durable step, so that tests can break each of them; nothing happens unless ``NBC_FAILPOINTS`` is set.

The text is the subset of containerd's grammar that stores need: ``name=term->term;name=term``, a term is ``[count*]action`` and an
action ``off``, ``error(ENOSPC)`` (raises OSError), ``kill9`` (SIGKILL to this process) or ``delay(milliseconds)``. A term without a
count lasts for ever; when the last counted term is used up the failpoint is off. ``content.*`` matches by prefix.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
import time
from functools import cache

from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass, field

VARIABLE = "NBC_FAILPOINTS"
_TERM = re.compile(r"(?:(\d+)\*)?(off|error|kill9|delay)(?:\(([A-Za-z0-9]*)\))?\Z")


def fp(name: str) -> None:
    """Mark a durable step; raises OSError, sleeps or dies here when the environment says so, else costs one look-up."""
    text = os.environ.get(VARIABLE)
    if text:
        _script(text).reach(name)


@dataclass(slots=True, kw_only=True)
class _Term:
    left: int
    action: str
    argument: str


@dataclass(slots=True, kw_only=True)
class _Script:
    points: dict[str, list[_Term]]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, name: str) -> None:
        for pattern, terms in self.points.items():
            if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
                term = self._take(terms)
                if term is not None:
                    _act(term, name)

    def _take(self, terms: list[_Term]) -> _Term | None:
        with self.lock:
            while terms and terms[0].left == 0:
                terms.pop(0)
            if not terms:
                return None
            terms[0].left -= 1
            return terms[0]


@cache
def _script(text: str) -> _Script:
    points: dict[str, list[_Term]] = {}
    for line in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, terms = line.partition("=")
        if not equals:
            raise InvalidArgument(f"{VARIABLE}: {line!r} has no =", hint="expected name=action")
        points[name.strip()] = [_term(word.strip()) for word in terms.split("->")]
    return _Script(points=points)


def _term(word: str) -> _Term:
    match = _TERM.match(word)
    if match is None:
        raise InvalidArgument(f"{VARIABLE}: {word!r} is no term", hint="expected [count*]off, error(ERRNO), kill9 or delay(ms)")
    count, action, argument = match.groups(default="")
    if action == "error" and not hasattr(errno, argument):
        raise InvalidArgument(f"{VARIABLE}: {argument!r} is no errno name")
    return _Term(left=int(count) if count else -1, action=action, argument=argument)


def _act(term: _Term, name: str) -> None:
    if term.action == "error":
        number = int(getattr(errno, term.argument))
        raise OSError(number, f"{os.strerror(number)} (failpoint {name})")
    if term.action == "kill9":
        os.kill(os.getpid(), signal.SIGKILL)
    if term.action == "delay":
        time.sleep(int(term.argument or "0") / 1000)

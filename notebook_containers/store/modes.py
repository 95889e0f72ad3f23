"""File modes in words, as chmod(1) reads them: ``u=rwX,go=rX``, ``+x``, ``g-w``, ``o=u``."""

from __future__ import annotations

import re
import stat
from functools import lru_cache

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)\Z")
_ACTION = re.compile(r"([-+=])([rwxXst]*|[ugo])(?=[-+=]|\Z)")
_BITS = {"r": 4, "w": 2, "x": 1}
_SHIFT = {"u": 6, "g": 3, "o": 0}
_EXECUTE = 0o111

Action = tuple[str, str, str]


@lru_cache(maxsize=64)
def parse(text: str) -> tuple[Action, ...]:
    """Return (who, operator, permissions) of each action in order; raises ValueError for a text that is no symbolic mode."""
    actions: list[Action] = []
    for clause in text.split(","):
        match = _CLAUSE.match(clause)
        if match is None:
            raise ValueError(f"{clause!r} is no symbolic mode")
        who = "ugo" if not match[1] or "a" in match[1] else match[1]
        actions.extend((who, operator, permissions) for operator, permissions in _ACTION.findall(match[2]))
    return tuple(actions)


def change(text: str, mode: int) -> int:
    """Return the permission bits of ``mode`` (st_mode, with its kind) after the changes of a symbolic mode; the umask plays no part."""
    bits = stat.S_IMODE(mode)
    for who, operator, permissions in parse(text):
        bits = _act(bits, who, operator, permissions, is_directory=stat.S_ISDIR(mode))
    return bits


def _act(bits: int, who: str, operator: str, permissions: str, *, is_directory: bool) -> int:
    given = _given(bits, who, permissions, is_directory=is_directory)
    if operator == "+":
        return bits | given
    if operator == "-":
        return bits & ~given
    special = sum({"u": stat.S_ISUID, "g": stat.S_ISGID, "o": 0}[w] for w in set(who))
    kept_special = special if is_directory else 0  # chmod(1): a directory keeps them unless they are named
    cleared = sum(7 << _SHIFT[w] for w in set(who)) | (special & ~kept_special)
    return bits & ~cleared | given


def _given(bits: int, who: str, permissions: str, *, is_directory: bool) -> int:
    if permissions in ("u", "g", "o"):
        triple = bits >> _SHIFT[permissions] & 7
    else:
        triple = sum(_BITS[p] for p in set(permissions) & _BITS.keys())
        if "X" in permissions and (is_directory or bits & _EXECUTE):
            triple |= 1
    found = 0
    for one in set(who):
        found |= triple << _SHIFT[one]
        if "s" in permissions:
            found |= {"u": stat.S_ISUID, "g": stat.S_ISGID, "o": 0}[one]
    return found | (stat.S_ISVTX if "t" in permissions else 0)

"""Which user and group ids an ordinary user's containers can have: one, or the ranges that /etc/subuid and /etc/subgid lend (subuid(5)).

A map's lines are (inside, outside, count). With one id only root exists inside, and it is the caller. With lent ranges root is the caller
too, and the ids from 1 on are the ranges' in the files' order; the setuid programs newuidmap(1) and newgidmap(1) write that map.
Reads only. Standard library only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from notebook_containers.lean import dataclass
from notebook_containers.linux import namespaces

Line: TypeAlias = tuple[int, int, int]

HELPERS = ("newuidmap", "newgidmap")
USUAL = 65536
"""How many ids distributions lend by default; with fewer some images' owners do not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMaps:
    """The lines for /proc/<pid>/uid_map and gid_map."""

    uids: tuple[Line, ...]
    gids: tuple[Line, ...]

    @property
    def single(self) -> bool:
        """Whether there is one user id (or one group id) only."""
        return _size(self.uids) == 1 or _size(self.gids) == 1

    def has(self, uid: int, gid: int = 0) -> bool:
        """Whether this user and this group exist inside."""
        return _inside(self.uids, uid) and _inside(self.gids, gid)

    def has_group(self, gid: int) -> bool:
        """Whether this group exists inside."""
        return _inside(self.gids, gid)

    @property
    def highest(self) -> int:
        """The highest id that both have from 0 on."""
        return min(max(inside + count for inside, _, count in lines) for lines in (self.uids, self.gids)) - 1

    def describe(self) -> str:
        """The outside ids, in words."""
        return "; ".join(
            f"{what} " + ", ".join(f"{start}-{start + count - 1}" if count > 1 else str(start) for _, start, count in lines)
            for what, lines in (("user ids", self.uids), ("group ids", self.gids))
        )

    def to_json(self) -> dict[str, list[list[int]]]:
        """As JSON members."""
        return {"uids": [list(line) for line in self.uids], "gids": [list(line) for line in self.gids]}

    @classmethod
    def from_json(cls, data: object) -> IdMaps:
        """The inverse of :meth:`to_json`; ValueError for anything else."""
        if not isinstance(data, dict):
            raise ValueError("an id map is no object")
        return cls(uids=_lines(data.get("uids")), gids=_lines(data.get("gids")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What the two files lend to a user: ranges of (start, count), and what is wrong with them in words (such ranges are left out)."""

    uids: tuple[tuple[int, int], ...] = ()
    gids: tuple[tuple[int, int], ...] = ()
    problems: tuple[str, ...] = ()

    def holds(self, maps: IdMaps) -> bool:
        """Whether everything of a wide map but the caller's own ids is still lent."""
        pairs = ((maps.uids, self.uids), (maps.gids, self.gids))
        return all(_covered(start, count, ranges) for lines, ranges in pairs for _, start, count in lines[1:])


def own_map() -> IdMaps:
    """Return the map that needs nobody's permission: root inside is the caller, nobody else exists."""
    return IdMaps(uids=((0, os.geteuid(), 1),), gids=((0, os.getegid(), 1),))


def wide_map(lent: Lent) -> IdMaps | None:
    """Return the map with the lent ids, or None when none are lent."""
    if not lent.uids or not lent.gids:
        return None
    return IdMaps(uids=_spread(os.geteuid(), lent.uids), gids=_spread(os.getegid(), lent.gids))


def keep_id(maps: IdMaps, uid: int, gid: int) -> IdMaps:
    """Return the map in which the caller has inside the ids it has outside, and root the ids that these had.

    Files of the caller's own (an image's root, a bind mount) then belong to ``uid`` inside; every other id is as in ``maps``.
    """
    return IdMaps(uids=_swapped(maps.uids, uid), gids=_swapped(maps.gids, gid))


def lent_ids(etc: str = "/etc", *, uid: int | None = None, name: str | None = None) -> Lent:
    """Return what ``etc``/subuid and subgid lend to a user (the caller), by name or number, without what would be dangerous."""
    uid = os.geteuid() if uid is None else uid
    accounts = _accounts(etc)
    name = accounts.get(uid, "") if name is None else name
    problems: list[str] = []
    found = []
    for file in ("subuid", "subgid"):
        entries = list(_entries(f"{etc}/{file}", problems))
        known = _known_ids(f"{etc}/{'passwd' if file == 'subuid' else 'group'}")
        if file == "subuid":
            known.setdefault(uid, name or "this user")
        found.append(tuple(_usable(file, entries, {name, str(uid)} - {""}, known, problems)))
    if bool(found[0]) != bool(found[1]):
        has, lacks = ("subuid", "subgid") if found[0] else ("subgid", "subuid")
        problems.append(f"{etc}/{has} has ids for this user, {etc}/{lacks} has none: both are needed")
    return Lent(uids=found[0], gids=found[1], problems=tuple(problems))


def helpers_missing() -> str:
    """Return why newuidmap and newgidmap cannot work here, or an empty text when nothing speaks against it."""
    with open("/proc/self/status", encoding="ascii") as file:
        if any(line.split() == ["NoNewPrivs:", "1"] for line in file):
            return "this process may not gain privileges (no_new_privs is set), so newuidmap cannot work"
    for program in HELPERS:
        try:
            path = namespaces.helper(program)
        except FileNotFoundError as err:
            return str(err.strerror)
        status = os.stat(path)
        if not (status.st_mode & stat.S_ISUID and status.st_uid == 0) and not _has_capability(path):
            return f"{path} is neither setuid root nor has it file capabilities"
        if os.statvfs(path).f_flag & os.ST_NOSUID:
            return f"{path} is on a file system mounted nosuid"
    return ""


def line_for_administrator(etc: str = "/etc") -> str:
    """Return the command with which an administrator lends the caller a range that is nobody's."""
    name = _accounts(etc).get(os.geteuid(), str(os.geteuid()))
    taken = [start + count for file in ("subuid", "subgid") for _, start, count in _entries(f"{etc}/{file}", [])]
    start = max([100000, *taken])
    return f"usermod --add-subuids {start}-{start + USUAL - 1} --add-subgids {start}-{start + USUAL - 1} {name}"


def _entries(path: str, problems: list[str]) -> Iterable[tuple[str, int, int]]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        fields = line.strip().split(":")
        if fields == [""] or line.startswith("#"):
            continue
        if len(fields) != 3 or not all(field.isascii() and field.isdigit() for field in fields[1:]) or int(fields[2]) == 0:
            problems.append(f"{path}, line {number}: {line.strip()[:60]!r} is not NAME:START:COUNT")
            continue
        yield fields[0], int(fields[1]), int(fields[2])


def _usable(
    file: str, entries: Sequence[tuple[str, int, int]], names: set[str], known: dict[int, str], problems: list[str]
) -> Iterable[tuple[int, int]]:
    own: list[tuple[int, int]] = []
    for owner, start, count in entries:
        if owner in names:
            others = [*(e for e in entries if e[0] not in names), *(("this user again", *span) for span in own)]
            what = f"the ids {start}-{start + count - 1} of /etc/{file}"
            if reason := _danger(start, start + count, others, known):
                problems.append(f"{what} {reason}")
            else:
                own.append((start, count))
    return own


def _danger(start: int, end: int, others: Sequence[tuple[str, int, int]], known: dict[int, str]) -> str:
    """Return why a range must not be used: ids that are somebody's would give a container that somebody's files."""
    if end > 1 << 32:
        return "go beyond the last id there is"
    for name, other, size in others:
        if other < end and start < other + size:
            return f"overlap those of {name} ({other}-{other + size - 1}): each could change the other's files"
    for number, name in known.items():
        if start <= number < end:
            return f"hold the id {number} of {name}"
    return ""


def _spread(own: int, ranges: Sequence[tuple[int, int]]) -> tuple[Line, ...]:
    lines, inside = [(0, own, 1)], 1
    for start, count in ranges:
        lines.append((inside, start, count))
        inside += count
    return tuple(lines)


def _swapped(lines: tuple[Line, ...], own: int) -> tuple[Line, ...]:
    outside = lines[0][1]
    if own == 0:
        return lines
    if len(lines) == 1:
        return ((own, outside, 1),)
    result: list[Line] = [(own, outside, 1)]
    if not _inside(lines, own):  # nothing to swap with: root gives way, and the last id becomes root's
        inside, start, count = lines[-1]
        return tuple(line for line in (*result, (0, start + count - 1, 1), *lines[1:-1], (inside, start, count - 1)) if line[2])
    for inside, start, count in lines[1:]:
        if not inside <= own < inside + count:
            result.append((inside, start, count))
            continue
        before = own - inside
        parts = ((inside, start, before), (0, start + before, 1), (own + 1, start + before + 1, count - before - 1))
        result += [part for part in parts if part[2]]
    return tuple(result)


def _size(lines: tuple[Line, ...]) -> int:
    return sum(count for _, _, count in lines)


def _inside(lines: tuple[Line, ...], number: int) -> bool:
    return any(inside <= number < inside + count for inside, _, count in lines)


def _covered(start: int, count: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= start and start + count <= first + size for first, size in ranges)


def _lines(value: object) -> tuple[Line, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("an id map has no lines")
    lines = []
    for line in value:
        if not isinstance(line, list) or len(line) != 3 or not all(isinstance(number, int) and number >= 0 for number in line):
            raise ValueError(f"{line!r} is no line of an id map")
        lines.append((line[0], line[1], line[2]))
    return tuple(lines)


def _accounts(etc: str) -> dict[int, str]:
    """Return uid → name: the file's, and for the caller what the system's directories say (it may not be in the file)."""
    found = _known_ids(f"{etc}/passwd")
    if etc == "/etc" and os.geteuid() not in found:
        import pwd

        try:
            found[os.geteuid()] = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            pass
    return found


def _known_ids(path: str) -> dict[int, str]:
    rows = (line.split(":") for line in _text(path).splitlines())
    return {int(row[2]): row[0] for row in rows if len(row) > 2 and row[2].isascii() and row[2].isdigit()}


def _has_capability(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

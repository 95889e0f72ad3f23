"""Ranges of user and group ids for containers of root with ``--userns auto``: nobody else's, and each container its own while it exists.

They lie in the upper part of what systemd keeps for containers (524288 to 1879048191, its UIDS-GIDS.md), above what shadow's useradd and
others lend by default; what /etc/subuid, /etc/subgid, /etc/passwd and /etc/group name is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from notebook_containers.errors import Conflict

SIZE = 65536
FIRST, LAST = 1 << 30, 1878982656 - 1


def free(taken: Iterable[int], *, etc: str = "/etc") -> int:
    """Return the first id of a range that is nobody's; ``taken`` are the first ids of others. Conflict when there is none."""
    used = set(taken)
    spans = list(_spans(Path(etc)))
    for start in range(FIRST, LAST, SIZE):
        if start not in used and not any(first < start + SIZE and start < end for first, end in spans):
            return start
    raise Conflict("every range of user ids is in use", hint="remove containers that were made with --userns auto")


def _spans(etc: Path) -> Iterator[tuple[int, int]]:
    for name, first, count in (("subuid", 1, 2), ("subgid", 1, 2), ("passwd", 2, -1), ("group", 2, -1)):
        try:
            lines = (etc / name).read_text(errors="replace").splitlines()
        except OSError:
            continue
        for fields in (line.split(":") for line in lines):
            numbers = [fields[at] if at < len(fields) else "" for at in (first, *([count] if count > 0 else []))]
            if all(word.isascii() and word.isdigit() for word in numbers):
                yield int(numbers[0]), int(numbers[0]) + (int(numbers[1]) if count > 0 else 1)


@contextmanager
def choosing(directory: Path) -> Iterator[None]:
    """Let no other process choose a range until the block has ended and the choice is on the disk."""
    import fcntl

    with open(directory / "user_ranges.lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

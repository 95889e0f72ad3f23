"""The changes of a snapshot as ``docker diff`` tells them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from notebook_containers.lean import dataclass
from notebook_containers.store.merged import Merged, MergedDirectory
from notebook_containers.store.upper import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One changed path, absolute: ``kind`` is A (added), C (changed) or D (deleted)."""

    path: str
    kind: str


def changes(items: Sequence[Item], below: Merged) -> list[Change]:
    """Compare an upper directory's items with the layers below; sorted by path. Parents of what changed are listed as C.

    Of a deleted directory only itself is listed; what an opaque directory hides is listed as deleted.
    """
    result: list[Change] = []
    children: dict[str, list[Item]] = {}
    for item in items:
        if item.parent is not None and not item.dropped:
            children.setdefault(item.parent.path, []).append(item)
    added: set[str] = set()
    for directory in items:
        inside = children.get(directory.path, [])
        if directory.kind != "d" or directory.dropped or not (inside or directory.opaque):
            continue
        if directory.path in added:
            result.extend(Change(path=f"/{item.path}", kind="A") for item in inside if item.kind != "w")
            added.update(item.path for item in inside)
            continue
        with below.directory(directory.path) as lower:
            result.extend(_in_directory(directory, inside, lower, added))
    return sorted(result, key=lambda change: os.fsencode(change.path))


def _in_directory(directory: Item, inside: Sequence[Item], lower: MergedDirectory, added: set[str]) -> Iterable[Change]:
    there = {item.path.rpartition("/")[2] for item in inside}
    prefix = f"{directory.path}/" if directory.path else ""
    if directory.opaque:
        yield from (Change(path=f"/{prefix}{name}", kind="D") for name in lower.names() if name not in there)
    for item in inside:
        name = item.path.rpartition("/")[2]
        existed = lower.find(name) is not None
        if item.kind == "w":
            if existed:
                yield Change(path=f"/{item.path}", kind="D")
        elif existed:
            yield Change(path=f"/{item.path}", kind="C")
        else:
            added.add(item.path)
            yield Change(path=f"/{item.path}", kind="A")

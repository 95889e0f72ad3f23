"""Which trees a power cut may leave of what a program did: a model of a disk that is told to write, and often is not.

Each change is a change of one file's bytes or attributes, or of one name. A change is *safe* when a sync ended that began after it: one of
the file whose bytes they are, of the directory that has the name (of either, for a rename), or of the file system. Of the others each may
have reached the disk or not, in any combination, and of bytes only a part (whole sectors). That is less than ext4, XFS and btrfs promise,
which keep changes of names in order; as there, a rename is never half done. What no name leads to is gone.
"""

from __future__ import annotations

import os
import random
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from tests.reliability.traces import ATTRIBUTES, OPENS, SYNCS, Call

SECTOR = 512
NEVER = 1 << 60


@dataclass(slots=True, kw_only=True)
class Node:
    """A file or (with ``names``) a directory."""

    mode: int
    names: dict[str, int] | None = None
    data: bytearray = field(default_factory=bytearray)
    times: tuple[int, int] | None = None


Tree = dict[int, Node]
ROOT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change: when it was done (a line of the trace), whose syncs make it safe, and from when on it is; how it is done to a tree."""

    when: int
    owners: frozenset[int]
    apply: Callable[[Tree], None]
    data: tuple[int, int, bytes] | None = None
    safe: int = NEVER


class History:
    """All changes that a trace made below a directory, which was not there before."""

    def __init__(self, root: Path, calls: Sequence[Call]) -> None:
        self._root = str(root)
        self._kinds: dict[int, Node] = {ROOT: Node(mode=0o711, names={})}
        self._now: Tree = {ROOT: Node(mode=0o711, names={})}
        self._positions: dict[str, int] = {}
        self._changes: list[Change] = []
        self._syncs: list[tuple[int, int, int | None]] = []
        self.published: list[str] = []
        for call in calls:
            if any(path == self._root or path.startswith(f"{self._root}/") for path in [*call.paths, *(p for _n, p in call.descriptors)]):
                self._take(call)
        self.changes = [replace(change, safe=self._safe_from(change)) for change in self._changes]
        self.moments = sorted({ended for _began, ended, _node in self._syncs} | {self._changes[-1].when + 1})

    def at(self, moment: int) -> tuple[list[Change], list[Change]]:
        """Return the changes that are safe if the power goes at this line of the trace, and those that are not."""
        done = self.changes[: bisect_left(self.changes, moment, key=lambda change: change.when)]
        return [change for change in done if change.safe < moment], [change for change in done if change.safe >= moment]

    def tree(self, changes: Sequence[Change]) -> Tree:
        """Return what is on the disk after these changes, each a whole or a torn one."""
        made: Tree = {number: Node(mode=node.mode, names=None if node.names is None else {}) for number, node in self._kinds.items()}
        for change in sorted(changes, key=lambda change: change.when):
            change.apply(made)
        return made

    def _safe_from(self, change: Change) -> int:
        covering = (end for start, end, node in self._syncs if start > change.when and (node is None or node in change.owners))
        return min(covering, default=NEVER)

    def _take(self, call: Call) -> None:
        if call.name in SYNCS:
            node = None if call.name == "syncfs" else self._find(call.descriptors[0][1])
            self._syncs.append((call.began, call.ended, node))
        elif call.name in OPENS:
            self._open(call)
        elif call.name in ("mkdir", "mkdirat"):
            if call.paths[0] != self._root:
                self._create(call, call.paths[0], Node(mode=int(re.search(r", (0\d+)\)", call.words)[1], 8), names={}))  # type: ignore[index]
        elif call.name.startswith("rename"):
            self._rename(call, *call.paths)
        elif call.name in ("unlink", "unlinkat", "rmdir"):
            self._unlink(call, call.paths[0])
        elif call.name in ("write", "pwrite64"):
            self._write(call)
        elif call.name == "lseek":
            self._positions[call.descriptors[0][0]] = call.result
        elif call.name in ATTRIBUTES:
            self._set(call)
        else:
            raise AssertionError(f"this model does not know what {call.words[:200]} does")

    def _find(self, path: str) -> int:
        node = ROOT
        for name in PurePosixPath(path).relative_to(self._root).parts:
            names = self._now[node].names
            assert names is not None
            node = names[name]
        return node

    def _parent(self, path: str) -> tuple[int, str]:
        return self._find(str(PurePosixPath(path).parent)), PurePosixPath(path).name

    def _has(self, path: str) -> bool:
        parent, name = self._parent(path)
        return name in (self._now[parent].names or {})

    def _add(self, call: Call, owners: set[int], apply: Callable[[Tree], None], data: tuple[int, int, bytes] | None = None) -> None:
        self._changes.append(Change(when=call.ended, owners=frozenset(owners), apply=apply, data=data))
        apply(self._now)

    def _create(self, call: Call, path: str, node: Node) -> None:
        parent, name = self._parent(path)
        number = len(self._kinds)
        self._kinds[number] = node
        self._now[number] = Node(mode=node.mode, names=None if node.names is None else {})
        self._add(call, {parent}, lambda tree: _enter(tree, parent, name, number))

    def _open(self, call: Call) -> None:
        path = call.descriptors[-1][1]
        self._positions[call.descriptors[-1][0]] = 0
        if "O_CREAT" in call.words and not self._has(path):
            self._create(call, path, Node(mode=int(re.search(r", (0\d+)\) ", call.words)[1], 8)))  # type: ignore[index]
        elif "O_TRUNC" in call.words:
            node = self._find(path)
            self._add(call, {node}, lambda tree: tree[node].data.clear())

    def _rename(self, call: Call, source: str, target: str) -> None:
        (left, old), (entered, new), node = self._parent(source), self._parent(target), self._find(source)

        def apply(tree: Tree) -> None:
            for number in [left] if (tree[left].names or {}).get(old) == node else tree:  # an earlier rename was lost: it is elsewhere
                for name in [name for name, child in (tree[number].names or {}).items() if child == node]:
                    _leave(tree, number, name, node)
            _enter(tree, entered, new, node)

        self._add(call, {left, entered}, apply)
        if target.startswith((f"{self._root}/blobs/", f"{self._root}/layers/")):
            self.published.append(target)

    def _unlink(self, call: Call, path: str) -> None:
        (parent, name), node = self._parent(path), self._find(path)
        self._add(call, {parent}, lambda tree: _leave(tree, parent, name, node))

    def _write(self, call: Call) -> None:
        number, path = call.descriptors[0]
        self._never_written_when_published(call, path)
        node, data = self._find(path), call.strings[0][: call.result]
        if call.name == "pwrite64":
            offset = int(re.search(r", (\d+)\) +=", call.words)[1])  # type: ignore[index]
        else:
            offset = self._positions[number]
            self._positions[number] += len(data)
        self._add(call, {node}, lambda tree: _put(tree[node], offset, data), (node, offset, data))

    def _set(self, call: Call) -> None:
        path = call.paths[0]
        self._never_written_when_published(call, path)
        node = self._find(path) if path != self._root else ROOT
        times = tuple(int(second) * 10**9 + int(nano) for second, nano in re.findall(r"tv_sec=(\d+), tv_nsec=(\d+)", call.words))
        if call.name == "utimensat":
            self._add(call, {node}, lambda tree: setattr(tree[node], "times", times))
        else:
            mode = int(re.search(r", (0\d+)", call.words)[1], 8)  # type: ignore[index]
            self._add(call, {node}, lambda tree: setattr(tree[node], "mode", mode))

    def _never_written_when_published(self, call: Call, path: str) -> None:
        inside = [name for name in self.published if path == name or path.startswith(f"{name}/")]
        assert not inside, f"{call.name} changed {path}, which others saw already"


def states(history: History, most: int, seed: int) -> Iterator[tuple[int, list[Change]]]:
    """Yield moments and the changes that reached the disk: at each moment only the safe ones, and all; then others, chosen by ``seed``.

    No state comes twice at one moment; at most ``most`` come.
    """
    seen: set[tuple[int, frozenset[tuple[int, int]]]] = set()
    chosen = random.Random(seed)

    def new(moment: int, changes: Sequence[Change]) -> bool:
        key = moment, frozenset((change.when, len(change.data[2]) if change.data else 0) for change in changes)
        return len(seen) < most and key not in seen and not seen.add(key)  # type: ignore[func-returns-value]

    for moment in history.moments:
        safe, pending = history.at(moment)
        for changes in (safe, [*safe, *pending]):
            if new(moment, changes):
                yield moment, changes
    open_moments = [moment for moment in history.moments if history.at(moment)[1]]
    for _ in range(most * 4):
        moment = chosen.choice(open_moments)
        safe, pending = history.at(moment)
        changes = [*safe, *_some(pending, chosen)]
        if new(moment, changes):
            yield moment, changes


def _some(pending: Sequence[Change], chosen: random.Random) -> list[Change]:
    """Choose some: all but one, one alone, the first, the last, or any; one time in four a last write is torn."""
    one = chosen.randrange(len(pending))
    kept = chosen.choice(
        [
            [*pending[:one], *pending[one + 1 :]],
            [pending[one]],
            list(pending[:one]),
            list(pending[one:]),
            [change for change in pending if chosen.random() < 0.5],
        ]
    )
    written = [index for index, change in enumerate(kept) if change.data and len(change.data[2]) > SECTOR]
    if written and chosen.random() < 0.25:
        index = chosen.choice(written)
        kept[index] = _torn(kept[index], chosen)
    return kept


def _torn(change: Change, chosen: random.Random) -> Change:
    assert change.data
    node, offset, data = change.data
    part = data[: SECTOR * chosen.randrange(1, -(-len(data) // SECTOR))]
    return replace(change, apply=lambda tree: _put(tree[node], offset, part), data=(node, offset, part))


def make(tree: Tree, root: Path, rename: Callable[[str], str]) -> None:
    """Make the tree in a new directory; ``rename`` is asked for each name."""
    root.mkdir()
    _make(tree, ROOT, root, rename)


def _make(tree: Tree, number: int, path: Path, rename: Callable[[str], str]) -> None:
    node = tree[number]
    if node.names is None:
        path.write_bytes(node.data)
    else:
        path.mkdir(exist_ok=True)
        for name, child in node.names.items():
            _make(tree, child, path / rename(name), rename)
    path.chmod(node.mode)
    if node.times:
        os.utime(path, ns=node.times)


def _enter(tree: Tree, parent: int, name: str, node: int) -> None:
    names = tree[parent].names
    assert names is not None
    names[name] = node


def _leave(tree: Tree, parent: int, name: str, node: int) -> None:
    names = tree[parent].names
    assert names is not None
    if names.get(name) == node:  # else it never got there, or another came after it
        del names[name]


def _put(node: Node, offset: int, data: bytes) -> None:
    if len(node.data) < offset:
        node.data.extend(bytes(offset - len(node.data)))
    node.data[offset : offset + len(data)] = data

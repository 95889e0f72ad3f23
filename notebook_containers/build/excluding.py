"""What ``--exclude`` leaves out of a COPY, by the rules of .dockerignore, relative to each source. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from notebook_containers.build.digests import Entry, TreeDigest, lines
from notebook_containers.build.ignore import IgnoreRules, read_rules


def exclude_rules(patterns: Sequence[str]) -> IgnoreRules:
    """Return the rules of patterns in their order; raises InvalidDocument for one that is none."""
    return read_rules("\n".join(patterns).encode("utf-8", "surrogateescape"), name="--exclude")


def left_out(paths: Iterable[tuple[str, bool]], rules: IgnoreRules) -> frozenset[str]:
    """Return the paths that are left out, of (path, is a directory) in an order where a directory stands before what is in it.

    A directory that is excluded stays while something below it is taken back.
    """
    excluded: set[str] = set()
    kept: set[str] = set()
    for path, _is_directory in paths:
        if path and rules.rule_for(path) is not None:
            excluded.add(path)
        else:
            kept.update(_above(path))
    return frozenset(excluded - kept)


def without(tree: TreeDigest, name: str, rules: IgnoreRules) -> TreeDigest | None:
    """Return the tree without what the rules leave out; ``name`` is what a file is called. None when nothing of it is left."""
    if len(tree.entries) == 1 and tree.entries[0].kind != "d":
        return tree if rules.rule_for(name) is None else None
    gone = left_out(((e.path, e.kind == "d") for e in tree.entries), rules)
    entries = tuple(e for e in tree.entries if e.path not in gone)
    return TreeDigest(digest=_digest(entries), entries=entries, skipped=tree.skipped | gone)


def _digest(entries: Iterable[Entry]) -> str:
    total = hashlib.sha256()
    for piece in lines(entries):
        total.update(piece)
    return total.hexdigest()


def _above(path: str) -> Iterable[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]

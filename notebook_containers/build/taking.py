"""What COPY and ADD take from the build context: found, digested and told apart before the first step runs, so that errors come early."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from typing import TypeGuard

from notebook_containers.build import plan
from notebook_containers.build.context import Context, OutsideContext, Source, keeping
from notebook_containers.build.digests import TreeDigest
from notebook_containers.build.excluding import exclude_rules, without
from notebook_containers.build.ignore import IgnoreRules
from notebook_containers.build.patterns import PatternError
from notebook_containers.errors import DockerfileError, Error
from notebook_containers.lean import dataclass
from notebook_containers.store.compression import uncompressed

_BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The sources of one instruction with their digests, the paths of those that ADD unpacks, and the rules of what is excluded."""

    sources: tuple[tuple[Source, TreeDigest], ...]
    archives: frozenset[str]
    rules: IgnoreRules | None = None

    def trees(self) -> dict[str, str]:
        """Return each source's digest by its place and name."""
        return {f"{number} {source.name}": tree.digest for number, (source, tree) in enumerate(self.sources)}

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield each path in the context with a short digest of what is there."""
        for source, tree in self.sources:
            for entry in tree.entries:
                path = posixpath.join(source.path, entry.path) if entry.path else source.path or "."
                yield path, f"{entry.kind}{entry.mode:o} {entry.value[:12]}"

    def unchanged(self, context: Context) -> bool:
        """Say whether the context still has what the digests say (it may be edited while it is copied)."""
        try:
            return all(self._same(source, context.digest(source), tree) for source, tree in self.sources)
        except OSError:
            return False

    def _same(self, source: Source, now: TreeDigest, then: TreeDigest) -> bool:
        left = now if self.rules is None else without(now, source.name, self.rules)
        return left is not None and left.digest == then.digest


def take(step: plan.Step, copy: plan.Copy, context: Context) -> Taken:
    """Find and digest what the instruction names; raises DockerfileError for what is missing, left out, outside or unreadable."""
    found: dict[str, tuple[Source, TreeDigest]] = {}
    archives: set[str] = set()
    rules = exclude_rules(copy.excludes) if copy.excludes else None
    for word in copy.sources:
        for source in _select(step, word, context):
            if source.path not in found:
                tree = _digest(step, source, context)
                left = tree if rules is None else without(tree, source.name, rules)
                if left is None:
                    continue
                found[source.path] = (keeping(source, word), left)
                if copy.unpack and not source.is_directory and is_archive(context, source):
                    archives.add(source.path)
    check_several(step, copy, len(found) + len(copy.inline))
    return Taken(sources=tuple(found.values()), archives=frozenset(archives), rules=rules)


def take_mounts(step: plan.Step, execute: plan.Execute, context: Context) -> Taken | None:
    """Find and digest what the mounts of a RUN show of the context, in their order; None when they show nothing of it."""
    found: list[tuple[Source, TreeDigest]] = []
    for mount in execute.mounts:
        if takes_from_context(mount):
            (source, *_) = _select(step, mount.source or ".", context)
            found.append((source, _digest(step, source, context)))
    return Taken(sources=tuple(found), archives=frozenset()) if found else None


def takes_from_context(mount: plan.RunMount) -> TypeGuard[plan.BindMount | plan.CacheDirectory]:
    """Say whether a mount shows files of the build context."""
    if isinstance(mount, plan.CacheDirectory):
        return mount.origin is None and bool(mount.source)
    return isinstance(mount, plan.BindMount) and mount.origin is None


def check_several(step: plan.Step, copy: plan.Copy, count: int) -> None:
    """Raise DockerfileError when a pattern gave several sources and the destination is no directory."""
    if count > 1 and not copy.destination.endswith("/"):
        raise error_at(step, "several sources need a directory as destination", hint=f"write {copy.destination}/")


def error_at(step: plan.Step, message: str, *, word: str = "", hint: str = "") -> DockerfileError:
    """Return the error for an instruction, at ``word`` where it stands in it as written."""
    node = step.node
    offset = node.text.find(word, node.start) if word else -1
    return node.error(message, offset=offset, length=len(word), hint=hint) if offset > 0 else node.error(message, hint=hint)


def is_archive(context: Context, source: Source) -> bool:
    """Say whether a file is a tar archive, perhaps compressed, by its first block (its name says nothing)."""
    file = os.fdopen(context.root.open(source.real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb")
    try:
        with uncompressed(file) as stream:
            return _is_tar_header(stream.read(_BLOCK))
    except (Error, OSError):  # looks compressed and is not: then it is a file like any other
        return False
    finally:
        file.close()


def _select(step: plan.Step, word: str, context: Context) -> tuple[Source, ...]:
    try:
        sources = context.select(word)
        if sources:
            return sources
        message, hint = context.missing(word)
    except OutsideContext as err:
        message, hint = f"{word} lies outside the build context {context.path}", "put it into the context first"
        raise error_at(step, message, word=word, hint=hint) from err
    except PatternError as err:
        raise error_at(step, str(err), word=word) from err
    raise error_at(step, message, word=word, hint=hint)


def _digest(step: plan.Step, source: Source, context: Context) -> TreeDigest:
    try:
        return context.digest(source)
    except OSError as err:
        where = err.filename if isinstance(err.filename, str) else source.path
        reason = os.strerror(err.errno or 0).lower()
        raise error_at(step, f"{where} in the build context cannot be read: {reason}", word=source.path) from err


def _is_tar_header(block: bytes) -> bool:
    """Say whether 512 bytes are a tar header: its checksum fits (POSIX pax, "ustar Interchange Format")."""
    if len(block) < _BLOCK or not any(block):
        return False
    text = block[148:156].strip(b" \0")
    if not text or any(c not in b"01234567" for c in text):
        return False
    return int(text, 8) == sum(block[:148]) + 8 * 32 + sum(block[156:_BLOCK])

"""What COPY and ADD take from the build context: found, digested and told apart before the first step runs, so that errors come early."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeGuard

from notebook_containers.build import plan
from notebook_containers.build.archives import is_archive
from notebook_containers.build.context import Context, OutsideContext, Source, keeping
from notebook_containers.build.digests import TreeDigest
from notebook_containers.build.excluding import exclude_rules, without
from notebook_containers.build.fetching import UNNAMED, Fetched, Fetching
from notebook_containers.build.ignore import IgnoreRules
from notebook_containers.build.locations import Location, Repository
from notebook_containers.build.patterns import PatternError
from notebook_containers.build.stages import Origin
from notebook_containers.errors import BuildError, DockerfileError, InvalidArgument, NotFound
from notebook_containers.lean import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A file or tree of a context, and its digest; ``archive``: ADD unpacks it."""

    context: Context
    source: Source
    tree: TreeDigest
    archive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The sources of one instruction with their digests, and the rules of what is excluded.

    ``fetched`` are those that came from elsewhere; ``mounts`` has the pieces of each mount of a RUN.
    """

    sources: tuple[Piece, ...]
    mounts: tuple[tuple[Piece, ...], ...] = ()
    rules: IgnoreRules | None = None
    fetched: tuple[Fetched, ...] = ()

    def trees(self) -> dict[str, str]:
        """Return each source's digest by its place and name."""
        trees = {f"{number} {piece.source.name}": piece.tree.digest for number, piece in enumerate(self.sources)}
        return trees | {f"fetched {number} {each.path}": each.digest for number, each in enumerate(self.fetched)}

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield each path in the contexts with a short digest of what is there."""
        for piece in self.sources:
            source = piece.source
            for entry in piece.tree.entries:
                path = posixpath.join(source.path, entry.path) if entry.path else source.path or "."
                yield path, f"{entry.kind}{entry.mode:o} {entry.value[:12]}"
        for each in self.fetched:
            kind = "d" if each.is_directory else "f"
            yield each.path.rpartition("/")[2], f"{kind} {each.digest.rpartition(':')[2][:12]}"

    def unchanged(self) -> bool:
        """Say whether the contexts still have what the digests say (they may be edited while they are copied)."""
        try:
            return all(self._same(piece) for piece in self.sources)
        except OSError:
            return False

    def _same(self, piece: Piece) -> bool:
        now = piece.context.digest(piece.source)
        left = now if self.rules is None else without(now, piece.source.name, self.rules)
        return left is not None and left.digest == piece.tree.digest


class Taking:
    """Finds, fetches and digests what instructions name; ``over`` lies above the context, ``named`` opens a named context."""

    def __init__(self, context: Context, over: Context | None, fetching: Fetching, named: Callable[[str], Context]) -> None:
        self._context, self._over, self._fetching, self._named = context, over, fetching, named

    def base(self, stage: plan.StagePlan) -> Piece:
        """Return the whole of a named context that a stage starts from; raises DockerfileError at its FROM."""
        start = stage.node
        try:
            context = self._named(stage.base.context)
            (source,) = context.select(".")
            return Piece(context=context, source=source, tree=context.digest(source))
        except (InvalidArgument, NotFound, BuildError) as err:
            raise start.error(f"the build context {stage.base.context}: {err.message}", hint=err.hint) from err

    def step(self, step: plan.Step) -> Taken | None:
        """Return what a step takes; None for one that takes nothing from a context or from elsewhere.

        Raises DockerfileError for what is missing, left out, outside, unreadable or not to be had.
        """
        match step.operation:
            case plan.Copy() as copy if copy.origin is None or copy.origin.context:
                return self._copy(step, copy)
            case plan.Execute() as execute:
                return self._mounts(step, execute)
        return None

    def _copy(self, step: plan.Step, copy: plan.Copy) -> Taken:
        found: dict[tuple[str, int], Piece] = {}
        rules = exclude_rules(copy.excludes) if copy.excludes else None
        for word in copy.sources:
            for context, source in self._select(step, word, copy.origin):
                if (source.path, id(context)) not in found:
                    tree = _digest(step, source, context)
                    left = tree if rules is None else without(tree, source.name, rules)
                    if left is None:
                        continue
                    archive = copy.unpack and not source.is_directory and _is_archive(context, source)
                    found[source.path, id(context)] = Piece(context=context, source=keeping(source, word), tree=left, archive=archive)
        check_several(step, copy, len({path for path, _ in found}) + len(copy.inline) + len(copy.remotes))
        fetched = tuple(self._fetch(step, copy, location) for location in copy.remotes)
        return Taken(sources=tuple(found.values()), rules=rules, fetched=fetched)

    def _mounts(self, step: plan.Step, execute: plan.Execute) -> Taken | None:
        mounts: list[tuple[Piece, ...]] = []
        for mount in execute.mounts:
            if takes_from_context(mount):
                chosen = self._select(step, mount.source or ".", mount.origin)
                path = chosen[0][1].path
                pieces = [Piece(context=c, source=s, tree=_digest(step, s, c)) for c, s in chosen if s.path == path]
                mounts.append(tuple(pieces))
        return Taken(sources=tuple(piece for pieces in mounts for piece in pieces), mounts=tuple(mounts)) if mounts else None

    def _select(self, step: plan.Step, word: str, origin: Origin | None) -> list[tuple[Context, Source]]:
        """What a word means; a file over the context takes the place of the context's own, a directory lies above it."""
        context = self._of(step, origin)
        if origin is None and self._over is not None:
            with suppress(OutsideContext, PatternError):  # told below
                if over := self._over.select(word):
                    files = {source.path for source in over if not source.is_directory}
                    own = [(context, source) for source in context.select(word) if source.path not in files]
                    return [*own, *((self._over, source) for source in over)]
        try:
            return [(context, source) for source in _select(step, word, context)]
        except DockerfileError as err:
            if origin is None and self._over is not None and not err.hint:
                err.hint = self._over.missing(word)[1]
            err.hint = err.hint or "put it there: only what the context holds can be taken"
            raise

    def _of(self, step: plan.Step, origin: Origin | None) -> Context:
        if origin is None or not origin.context:
            return self._context
        try:
            return self._named(origin.context)
        except (InvalidArgument, NotFound, BuildError) as err:
            raise error_at(step, f"the build context {origin.context}: {err.message}", word=origin.context, hint=err.hint) from err

    def _fetch(self, step: plan.Step, copy: plan.Copy, location: Location) -> Fetched:
        fetching = self._fetching.strict() if step.foreign else self._fetching
        try:
            if isinstance(location, Repository):
                return fetching.repository(location, keep_git=copy.keep_git_dir, checksum=copy.checksum)
            found = fetching.file(location, checksum=copy.checksum)
        except BuildError as err:
            raise error_at(step, err.message, word=location.text, hint=err.hint) from err
        if found.path.endswith(f"/{UNNAMED}") and copy.destination.endswith("/"):
            hint = f"write where the file goes: {copy.destination}NAME"
            raise error_at(step, f"{location.text} has no file name in it", word=location.text, hint=hint)
        return found


def takes_from_context(mount: plan.RunMount) -> TypeGuard[plan.BindMount | plan.CacheDirectory]:
    """Say whether a mount shows files of a build context."""
    if isinstance(mount, plan.CacheDirectory):
        return bool(mount.origin.context) if mount.origin is not None else bool(mount.source)
    return isinstance(mount, plan.BindMount) and (mount.origin is None or bool(mount.origin.context))


def check_several(step: plan.Step, copy: plan.Copy, count: int) -> None:
    """Raise DockerfileError when a pattern gave several sources and the destination is no directory."""
    if count > 1 and not copy.destination.endswith("/"):
        raise error_at(step, "several sources need a directory as destination", hint=f"write {copy.destination}/")


def error_at(step: plan.Step, message: str, *, word: str = "", hint: str = "") -> DockerfileError:
    """Return the error for an instruction, at ``word`` where it stands in it as written."""
    node = step.node
    offset = node.text.find(word, node.start) if word else -1
    return node.error(message, offset=offset, length=len(word), hint=hint) if offset > 0 else node.error(message, hint=hint)


def _is_archive(context: Context, source: Source) -> bool:
    return is_archive(os.fdopen(context.root.open(source.real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb"))


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

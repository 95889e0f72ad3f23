"""The build context: a directory seen through its descriptor, without what .dockerignore leaves out; digests of what COPY names.

Nothing outside the directory is ever opened: links are followed as if the context were ``/``. A digest covers names, kinds, modes,
link texts and contents, never times or owners (a copy gets its owner from the instruction).
"""

from __future__ import annotations

import difflib
import errno
import os
import posixpath
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from notebook_containers.build.digests import FileDigests, TreeDigest
from notebook_containers.build.ignore import MAX_BYTES, IgnoreRules, read_rules
from notebook_containers.build.patterns import Automaton
from notebook_containers.errors import InvalidArgument, InvalidDocument, NotFound
from notebook_containers.lean import dataclass, replace
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store.held import Ready
from notebook_containers.store.known_digests import KnownDigests

MAGIC = "*?["


class OutsideContext(ValueError):
    """A source that leads out of the context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file or directory that a source word means: its path as written (cleaned), the same with links followed, and which it is.

    ``kept`` is the part of the path that ``--parents`` keeps: what stands behind a ``/./``, or all of it.
    """

    path: str
    real: str
    is_directory: bool
    kept: str = ""

    @property
    def name(self) -> str:
        """The name it was called by."""
        return posixpath.basename(self.path)


class Context:
    """An open build context; close it, or use it in a ``with`` statement."""

    def __init__(self, root: SafeRoot, *, path: str, rules: IgnoreRules, memory: KnownDigests | None = None) -> None:
        self.root, self.path, self.rules = root, path, rules
        self._digests = FileDigests(root, rules, memory=memory, name=path)

    @classmethod
    def open(cls, path: Path, *, dockerfile: str = "Dockerfile", memory: KnownDigests | None = None) -> Self:
        """Open a directory and read ``<dockerfile>.dockerignore`` or else ``.dockerignore`` in it.

        ``memory`` is where digests of its files are kept from one build to the next.
        Raises NotFound or InvalidArgument for what is no readable directory, InvalidDocument for wrong rules.
        """
        try:
            root = SafeRoot.at(path, follow=True)
        except OSError as err:
            kind = NotFound if err.errno == errno.ENOENT else InvalidArgument
            raise kind(f"the build context {path} cannot be used: {os.strerror(err.errno or 0).lower()}", hint="give a directory") from err
        try:
            return cls(root, path=os.path.abspath(path), rules=_find_rules(root, dockerfile), memory=memory)
        except BaseException:
            root.close()
            raise

    def close(self) -> None:
        """Remember what was read and close the descriptor; may be called twice."""
        self._digests.remember()
        self._digests.close()
        self.root.close()

    def __enter__(self) -> Self:
        """Return the context."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def select(self, pattern: str) -> tuple[Source, ...]:
        """Return what a source word means, in order of names; nothing when it is missing or left out.

        Raises OutsideContext for ``..`` above the context, PatternError for a wrong pattern.
        """
        parts = clean(pattern)
        wild = any(c in part for part in parts for c in MAGIC)
        paths = self._glob("", parts) if wild else iter(["/".join(parts)])
        return tuple(source for path in paths if (source := self._source(path)) is not None)

    def digest(self, source: Source) -> TreeDigest:
        """Return the digest of a source and all below it; raises OSError for what cannot be read."""
        return self._digests.tree(source.real)

    def ready(self, source: Source, tree: TreeDigest) -> Ready:
        """Return the contents of a source that were read when ``tree`` was made, and are held."""
        return self._digests.ready(source.real, tree)

    def missing(self, pattern: str) -> tuple[str, str]:
        """Say in words why a source word means nothing, and what may have been meant: (message, hint)."""
        path = "/".join(clean(pattern))
        rule = self.rules.rule_for(path)
        if rule is not None and self.root.exists(path):
            shown = ("!" if rule.negated else "") + rule.pattern
            return f"{path} is left out of the build context by {self.rules.name}", f"line {rule.line} says {shown!r}"
        noun = "no file matches" if any(c in path for c in MAGIC) else "no such file"
        near = self._near(path)
        return (
            f"{noun} {path} in the build context {self.path}",
            f"did you mean {near}?" if near else "",
        )

    def _near(self, path: str) -> str:
        head, _, name = path.rpartition("/")
        try:
            names = sorted(self._names(head))
        except OSError:
            return self._near(head) if head else ""
        starts = [n for n in names if n.startswith(name) or name.startswith(n)]
        close = starts or difflib.get_close_matches(name, names, n=2, cutoff=0.6)
        folded = [n for n in names if n.lower() == name.lower()]
        return " or ".join(posixpath.join(head, n) for n in (folded or close)[:2])

    def _names(self, path: str) -> Iterator[str]:
        fd = self.root.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield from (n for n in os.listdir(fd) if self.rules.rule_for(posixpath.join(path, n)) is None)
        finally:
            os.close(fd)

    def _glob(self, head: str, parts: list[str]) -> Iterator[str]:
        if not parts:
            yield head
            return
        if parts[0] == "**":
            yield from self._anywhere(head, parts[1:])
            return
        if not any(c in parts[0] for c in MAGIC):
            path = posixpath.join(head, parts[0])
            if self.root.exists(path):
                yield from self._glob(path, parts[1:])
            return
        matcher = Automaton([parts[0]], deep=False)
        with suppress(NotADirectoryError, FileNotFoundError):
            for name in sorted(self._names(head)):
                if matcher.matches(name):
                    yield from self._glob(posixpath.join(head, name), parts[1:])

    def _anywhere(self, head: str, rest: list[str]) -> Iterator[str]:
        """``**``: the rest of a pattern here and in every directory below; links to directories are not entered."""
        yield from self._glob(head, rest) if rest else iter([head] if head else [])
        try:
            names = sorted(self._names(head))
        except OSError:
            return
        for name in names:
            path = posixpath.join(head, name)
            with suppress(OSError):
                fd = self.root.open(path, os.O_PATH | os.O_NOFOLLOW)
                try:
                    is_directory = _is_directory(fd)
                finally:
                    os.close(fd)
                if is_directory:
                    yield from self._anywhere(path, rest)

    def _source(self, path: str) -> Source | None:
        try:
            real, is_directory = self._real(path)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            return None
        hidden = [p for p in {path, real} if self.rules.rule_for(p) is not None]
        if hidden and not (is_directory and self._digests.has_below(real)):
            return None
        return Source(path=path, real=real, is_directory=is_directory)

    def _real(self, path: str) -> tuple[str, bool]:
        """Follow links inside the context; the path comes from the descriptor, so that it is where the kernel went."""
        fd = self.root.open(path, os.O_PATH)
        try:
            base, real = (os.readlink(f"/proc/self/fd/{f}") for f in (self.root.fd, fd))
            return real.removeprefix(base).lstrip("/") if base != "/" else real.lstrip("/"), _is_directory(fd)
        finally:
            os.close(fd)


def keeping(source: Source, pattern: str) -> Source:
    """Return the source with the part of its path that ``--parents`` keeps, for the word that named it."""
    before = clean(pattern.partition("/./")[0]) if "/./" in pattern else []
    return replace(source, kept="/".join(source.path.split("/")[len(before) :]))


def clean(pattern: str) -> list[str]:
    """Cut a source word into names below the context; raises OutsideContext when it climbs above it."""
    parts: list[str] = []
    for part in pattern.split("/"):
        if part == "..":
            if not parts:
                raise OutsideContext(pattern)
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return parts


def _is_directory(fd: int) -> bool:
    return os.fstat(fd).st_mode & 0o170000 == 0o040000


def _find_rules(root: SafeRoot, dockerfile: str) -> IgnoreRules:
    for name in (f"{posixpath.basename(dockerfile)}.dockerignore", ".dockerignore"):
        try:
            return read_rules(root.read(name, max_bytes=MAX_BYTES), name=name)
        except FileNotFoundError:
            continue
        except OSError as err:
            raise InvalidDocument(f"{name} in the build context cannot be read: {os.strerror(err.errno or 0).lower()}") from err
    return IgnoreRules()

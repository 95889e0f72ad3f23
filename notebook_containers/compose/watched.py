"""What a rule of ``develop.watch`` is about: two looks at its files tell what changed, and what changed becomes an archive."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from notebook_containers.build.ignore import MAX_BYTES, IgnoreRules, read_rules
from notebook_containers.compose.model import Build, Watch as WatchRule
from notebook_containers.lean import dataclass

_ALWAYS_LEFT = (".git", "**/.git", "**/*.swp", "**/*~", "**/.#*", "**/4913")

Look: TypeAlias = "Mapping[str, tuple[int, int, int]]"
"""Relative path to modification time in ns, size and mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is different between two looks: relative paths; "." is the watched file itself."""

    changed: Sequence[str] = ()
    removed: Sequence[str] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.changed or self.removed)


class Tree:
    """The files and directories that one rule is about; ``build`` is how its service's image is built, whose .dockerignore counts too."""

    def __init__(self, rule: WatchRule, build: Build | None = None) -> None:
        self.rule = rule
        self._context = build.context if build else ""
        self._not_sent = _dockerignore(build) if build else IgnoreRules()
        self._left = _rules([*_ALWAYS_LEFT, *rule.ignore])
        self._only = _rules(rule.include) if rule.include else None
        self.seen: Look = {}

    def look(self) -> Look:
        """Return what is there now."""
        return dict(self._files())

    def changes(self) -> Changes:
        """Return what changed since the last call."""
        before, now = self.seen, self.look()
        self.seen = now
        changed = [name for name, facts in now.items() if before.get(name) != facts]
        return Changes(changed=changed, removed=[name for name in before if name not in now])

    def directories(self) -> Iterator[str]:
        """Yield the directories whose entries are to be watched."""
        if not os.path.isdir(self.rule.path):
            yield os.path.dirname(self.rule.path)
            return
        for directory, names, _files in os.walk(self.rule.path):
            relative = os.path.relpath(directory, self.rule.path)
            names[:] = [name for name in names if self._may_hold(os.path.normpath(os.path.join(relative, name)))]
            yield directory

    def _files(self) -> Iterator[tuple[str, tuple[int, int, int]]]:
        if not os.path.isdir(self.rule.path):
            facts = _facts(self.rule.path)
            if facts is not None:
                yield ".", facts
            return
        for directory in self.directories():
            for name in _entries(directory):
                path = os.path.join(directory, name)
                relative = os.path.relpath(path, self.rule.path)
                facts = None if self._is_left(relative) or not self._is_wanted(relative) else _facts(path)
                if facts is not None:
                    yield relative, facts

    def _is_left(self, name: str) -> bool:
        return any(rules.rule_for(path) is not None for rules, path in self._leaving(name))

    def _may_hold(self, name: str) -> bool:
        """Tell whether a directory is looked into: it is not left out, or something below it may be taken back."""
        return all(rules.rule_for(path) is None or rules.returns_below(path) for rules, path in self._leaving(name))

    def _leaving(self, name: str) -> Iterator[tuple[IgnoreRules, str]]:
        """Yield the rules that may leave a path out, with its name for them."""
        yield self._left, name
        sent = os.path.relpath(os.path.join(self.rule.path, name), self._context) if self._context else ".."
        if sent.partition("/")[0] != "..":
            yield self._not_sent, sent

    def _is_wanted(self, name: str) -> bool:
        return self._only is None or self._only.rule_for(name) is not None


def _dockerignore(build: Build) -> IgnoreRules:
    """Return what the build would not be sent; nothing for a context that is elsewhere."""
    for place in (f"{build.context}/{build.dockerfile}.dockerignore", f"{build.context}/.dockerignore"):
        with suppress(OSError), open(place, "rb") as file:
            return read_rules(file.read(MAX_BYTES), name=place)
    return IgnoreRules()


def _entries(directory: str) -> list[str]:
    with suppress(OSError):  # it is gone again
        return os.listdir(directory)
    return []


def _rules(patterns: Sequence[str]) -> IgnoreRules:
    return read_rules("\n".join(patterns).encode(), name="develop.watch")


def _facts(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISDIR(status.st_mode):  # its time is that of its entries, which are looked at themselves
        return 0, 0, status.st_mode
    return status.st_mtime_ns, status.st_size, status.st_mode


def target(rule: WatchRule, name: str) -> str:
    """Return the place of a watched file inside."""
    return rule.target if name == "." else f"{rule.target.rstrip('/')}/{name}"


def archive(rule: WatchRule, names: Sequence[str]) -> bytes:
    """Return a tar of files at their places inside; what is gone again is left out.

    The directories above are made where they are missing, and stay as they are where they are not.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as made_of:
        for name in names:
            source = Path(rule.path) if name == "." else Path(rule.path) / name
            inside = target(rule, name).lstrip("/")
            try:
                made_of.add(source, arcname=inside, recursive=False, filter=_owned_by_root)
            except OSError:
                continue
    return buffer.getvalue()


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry

"""``develop.watch``: what changes in the sources of a service goes into its containers, or has them built or started anew.

The kernel says when to look (inotify); what changed is what two looks at the tree have different, so that nothing is lost when many
files change at once, and nothing happens when a file is only touched and put back.
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from notebook_containers.build.ignore import IgnoreRules, read_rules
from notebook_containers.compose import hooks
from notebook_containers.compose.model import Service, Watch as WatchRule
from notebook_containers.compose.progress import Told
from notebook_containers.compose.site import Site
from notebook_containers.errors import Error, InvalidArgument
from notebook_containers.lean import dataclass
from notebook_containers.linux.inotify import Watch

if TYPE_CHECKING:
    from notebook_containers.compose.labels import Member

_ALWAYS_LEFT = (".git", "**/.git", "**/*.swp", "**/*~", "**/.#*", "**/4913")
_SETTLE_S = 0.1
_LONGEST_S = 2.0
"""A look is due after this long whatever the kernel says: a directory may have come too quickly to be watched in time."""

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
    """The files that one rule is about."""

    def __init__(self, rule: WatchRule) -> None:
        self.rule = rule
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
            names[:] = [name for name in names if not self._is_left(os.path.normpath(os.path.join(relative, name)))]
            yield directory

    def _files(self) -> Iterator[tuple[str, tuple[int, int, int]]]:
        if not os.path.isdir(self.rule.path):
            facts = _facts(self.rule.path)
            if facts is not None:
                yield ".", facts
            return
        for directory in self.directories():
            for entry in os.scandir(directory) if os.path.isdir(directory) else ():
                name = os.path.relpath(entry.path, self.rule.path)
                if entry.is_dir(follow_symlinks=False) or self._is_left(name) or not self._is_wanted(name):
                    continue
                facts = _facts(entry.path)
                if facts is not None:
                    yield name, facts

    def _is_left(self, name: str) -> bool:
        return self._left.rule_for(name) is not None

    def _is_wanted(self, name: str) -> bool:
        return self._only is None or self._only.rule_for(name) is not None


def _rules(patterns: Sequence[str]) -> IgnoreRules:
    return read_rules("\n".join(patterns).encode(), name="develop.watch")


def _facts(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_mode


class Watching:
    """The watch of a project's services; :meth:`run` in one thread, :meth:`stop` from any."""

    def __init__(self, site: Site, services: Sequence[Service], rebuild: Callable[[str], None], restart: Callable[[str], None]) -> None:
        self._site, self._rebuild, self._restart = site, rebuild, restart
        self._trees = [(service, Tree(rule)) for service in services for rule in service.watch]
        if not self._trees:
            names = ", ".join(service.name for service in services)
            raise InvalidArgument(f"nothing is watched of {names}", hint="give a service develop: watch: in the file")
        self._watch, self._stopped, self._known = Watch(), threading.Event(), set[str]()

    def run(self) -> None:
        """Watch until it is stopped or interrupted."""
        try:
            for service, tree in self._trees:
                self._begin(service, tree)
            while not self._stopped.is_set():
                self._follow_directories()
                self._watch.wait(_LONGEST_S)
                if self._stopped.wait(_SETTLE_S):  # an editor writes a file in several steps
                    return
                for service, tree in self._trees:
                    self._react(service, tree, tree.changes())
        finally:
            self._watch.close()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._watch.wake()

    def stop_after(self, stopped: threading.Event) -> None:
        """End it when an event is set."""
        stopped.wait()
        self.stop()

    def _begin(self, service: Service, tree: Tree) -> None:
        first = tree.changes()
        if tree.rule.initial_sync and tree.rule.action.startswith("sync"):
            self._react(service, tree, first)
        self._tell(service, "watching", tree.rule.path)

    def _follow_directories(self) -> None:
        for _service, tree in self._trees:
            for directory in tree.directories():
                if directory not in self._known and os.path.isdir(directory):
                    self._watch.add(directory)
                    self._known.add(directory)
        self._known = {directory for directory in self._known if os.path.isdir(directory)}

    def _react(self, service: Service, tree: Tree, changes: Changes) -> None:
        if not changes:
            return
        rule = tree.rule
        names = ", ".join([*changes.changed, *changes.removed][:3]) + ("…" if len(changes.changed) + len(changes.removed) > 3 else "")
        try:
            if rule.action == "rebuild":
                self._tell(service, "rebuilding", names)
                self._rebuild(service.name)
            elif rule.action == "restart":
                self._tell(service, "restarting", names)
                self._restart(service.name)
            else:
                self._sync(service, rule, changes)
                self._tell(service, "synced", names)
                if rule.action == "sync+restart":
                    self._restart(service.name)
                elif rule.action == "sync+exec":
                    self._exec(service, rule)
        except Error as err:  # the next change may be the one that mends it
            self._tell(service, "error", err.one_line())

    def _sync(self, service: Service, rule: WatchRule, changes: Changes) -> None:
        for member in self._running(service):
            if changes.changed:
                member.container.put_archive("/", _archive(rule, changes.changed))
            if changes.removed:
                gone = [_target(rule, name) for name in changes.removed]
                member.container.exec_run(["rm", "-rf", "--", *gone], user="0")

    def _exec(self, service: Service, rule: WatchRule) -> None:
        for member in self._running(service):
            if rule.exec is None:
                return
            code, output = hooks.run(rule.exec, member)
            self._tell(service, "executed" if not code else "error", output.splitlines()[-1] if output else f"exit status {code}")

    def _running(self, service: Service) -> list[Member]:
        return [one for one in self._site.of(service.name) if one.container.status == "running"]

    def _tell(self, service: Service, phase: str, text: str) -> None:
        self._site.tell(Told(kind="service", name=service.name, phase=phase, service=service.name, text=text))


def _target(rule: WatchRule, name: str) -> str:
    return rule.target if name == "." else f"{rule.target.rstrip('/')}/{name}"


def _archive(rule: WatchRule, names: Sequence[str]) -> bytes:
    """Return a tar of files at their places inside, with the directories above them; what is gone again is left out."""
    buffer, made = io.BytesIO(), set[str]()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            source = Path(rule.path) if name == "." else Path(rule.path) / name
            inside = _target(rule, name).lstrip("/")
            for parent in reversed(Path(inside).parents):
                if str(parent) != "." and str(parent) not in made:
                    made.add(str(parent))
                    archive.addfile(_directory(str(parent)))
            try:
                archive.add(source, arcname=inside, recursive=False, filter=_owned_by_root)
            except OSError:
                continue
    return buffer.getvalue()


def _directory(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    return entry


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry

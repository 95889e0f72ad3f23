"""``develop.watch``: what changes in the sources of a service goes into its containers, or has them built or started anew.

The kernel says when to look (inotify); what changed is what two looks at the tree have different, so that nothing is lost when many
files change at once, and nothing happens when a file is only touched and put back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from notebook_containers.compose import hooks
from notebook_containers.compose.model import Service, Watch as WatchRule
from notebook_containers.compose.progress import Told
from notebook_containers.compose.site import Site
from notebook_containers.compose.watched import Changes, Tree, archive, target
from notebook_containers.errors import Error, InvalidArgument
from notebook_containers.linux.inotify import Watch

if TYPE_CHECKING:
    from notebook_containers.compose.labels import Member

_SETTLE_S = 0.1
_LONGEST_S = 2.0
"""A look is due after this long whatever the kernel says: a directory may have come too quickly to be watched in time."""


class Watching:
    """The watch of a project's services; :meth:`run` in one thread, :meth:`stop` from any."""

    def __init__(self, site: Site, services: Sequence[Service], rebuild: Callable[[str], None], restart: Callable[[str], None]) -> None:
        self._site, self._rebuild, self._restart = site, rebuild, restart
        self._trees = [(service, Tree(rule, service.build)) for service in services for rule in service.watch]
        if not self._trees:
            names = ", ".join(service.name for service in services)
            raise InvalidArgument(f"nothing is watched of {names}", hint="give a service develop: watch: in the file")
        self._watch, self._stopped, self._known, self._warned = Watch(), threading.Event(), set[str](), False

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
                    self._known.add(directory)
                    self._follow(directory)
        self._known = {directory for directory in self._known if os.path.isdir(directory)}

    def _follow(self, directory: str) -> None:
        try:
            self._watch.add(directory)
        except FileNotFoundError:
            return
        except OSError as err:  # the kernel watches no more for this user
            if not self._warned:
                self._warned = True
                text = f"{directory}, and what comes after it, is looked at every {_LONGEST_S:g} s only: {err.strerror}"
                self._site.tell(Told(kind="service", name=self._site.name, phase="warning", text=text))

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
                member.container.put_archive("/", archive(rule, changes.changed))
            if changes.removed:
                gone = [target(rule, name) for name in changes.removed]
                done = member.container.exec_run(["rm", "-rf", "--", *gone], user="0")
                if done.exit_code:
                    self._tell(service, "error", f"{member.name}: {', '.join(gone)} stay: {done.output.decode('utf-8', 'replace').strip()}")

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

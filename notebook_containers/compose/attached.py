"""Staying with a project that is up: its output as it comes, until it ends, something ends that is to end it, or somebody interrupts.

The first interrupt stops the containers, dependents first, and their output is still shown; the second kills them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from notebook_containers.compose.labels import Member
from notebook_containers.compose.logs import Following, Said
from notebook_containers.compose.progress import Tell, silent
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.compose.project import ComposeProject

Ending: TypeAlias = Literal["all", "any", "failure"]
"""What ends it: the end of all containers, of any, or of any that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """How to stay: what ends it, whose exit status counts (else that of the one that ended it), and what of the logs is shown."""

    ending: Ending = "all"
    exit_code_from: str = ""
    since: float | None = None
    stop_timeout: int | None = None
    told: Tell = silent


def stay(project: ComposeProject, services: Sequence[str], show: Callable[[Said], None], how: Attached) -> int:
    """Show the output of the services' containers (all that are to be attached to) until the end; returns the exit status that counts.

    Raises KeyboardInterrupt when it was interrupted, after the containers were stopped.
    """
    if how.exit_code_from:
        project.project.service(how.exit_code_from)
    silenced = {service.name for service in project.project.services if not service.attach}
    members = [one for one in project.members(services) if one.service not in silenced or one.service == how.exit_code_from]
    return _Stay(project, members, show, how, silenced).until_end()


class _Stay:
    """One stay."""

    def __init__(
        self, project: ComposeProject, members: Sequence[Member], show: Callable[[Said], None], how: Attached, silenced: set[str]
    ) -> None:
        self._project, self._members, self._show, self._how, self._silenced = project, members, show, how, silenced
        self._interrupts = 0
        self._stopping: threading.Thread | None = None
        self._code = 0
        self._decided = False

    def until_end(self) -> int:
        with Following(self._members, since=self._how.since) as following:
            lines = iter(following)
            while True:
                try:
                    said = next(lines, None)
                    if said is None:
                        break
                    self._take(said)
                except KeyboardInterrupt:
                    self._interrupt()
                    lines = iter(following)
        if self._stopping is not None:
            self._stopping.join()
        if self._interrupts:
            raise KeyboardInterrupt
        return self._code

    def _take(self, said: Said) -> None:
        if said.line is not None or said.member.service not in self._silenced:
            self._show(said)
        if said.line is not None:
            return
        said.member.container.reload()
        code = said.member.container.exit_code or 0
        if said.member.service == self._how.exit_code_from:
            self._code, self._decided = code, True
        ends = self._how.ending == "any" or (self._how.ending == "failure" and code)
        if ends and self._stopping is None:
            if not self._decided and not self._how.exit_code_from:
                self._code, self._decided = code, True
            self._end(lambda: self._project.stop(timeout=self._how.stop_timeout, told=self._how.told))

    def _interrupt(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            self._end(lambda: self._project.stop(timeout=self._how.stop_timeout, told=self._how.told))
        else:
            self._project.kill(told=self._how.told)

    def _end(self, act: Callable[[], object]) -> None:
        def work() -> None:
            try:
                act()
            except Exception:
                self._project.kill()

        self._stopping = threading.Thread(target=work, name="nbc-compose-stop")
        self._stopping.start()


def check(*, detach: bool, ending: Ending, exit_code_from: str) -> None:
    """Raise InvalidArgument for flags that contradict each other."""
    if detach and (ending != "all" or exit_code_from):
        raise InvalidArgument(
            "--detach contradicts --abort-on-container-exit, --abort-on-container-failure and --exit-code-from", hint="leave out one"
        )

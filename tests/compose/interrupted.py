"""Processes that bring a project up or down and are killed, or stand still, at the durable step or the event that a test chooses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from notebook_containers import Engine
from notebook_containers.compose.progress import Told
from notebook_containers.compose.project import ComposeProject
from notebook_containers.errors import Error
from notebook_containers.store import failpoints
from tests.home import Home


class Workers:
    """Starts them, without importing everything anew for each: one process that forks."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def killed(self, verb: str, *, step: int = 0, event: int = 0) -> bool:
        """Do it, and be killed at this step or event (from 1); False when it ended before."""
        return self._ask(verb, step, event, "KILL") == -signal.SIGKILL

    def stopped(self, verb: str, *, step: int) -> bool:
        """Do it, and stand still at this step; False when it ended before."""
        return self._ask(verb, step, 0, "STOP") == -signal.SIGSTOP

    def go_on(self) -> int:
        """Let the one that stands still go on; returns its exit status: 1 for an Error of ours, which is no other's fault."""
        return self._said("{}")

    def _ask(self, verb: str, step: int, event: int, number: str) -> int:
        code = self._said(json.dumps({"verb": verb, "step": step, "event": event, "signal": number}))
        assert code in (0, -signal.SIGKILL, -signal.SIGSTOP), f"{verb}: it ended with {code}"
        return code

    def _said(self, line: str) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{line}\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@contextmanager
def workers(home: Home, place: Path, environment: dict[str, str]) -> Iterator[Workers]:
    """Have them for the project in a directory, until the block ends."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.compose.interrupted"],
        cwd=place,
        env={**environment, **home.variables(), failpoints.VARIABLE: "none=off"},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with server:
        yield Workers(server)


class _Worker:
    """One that is about to work."""

    def __init__(self, wish: dict[str, str | int]) -> None:
        self._verb, self._number = str(wish["verb"]), signal.Signals[f"SIG{wish['signal']}"]
        self._steps, self._events = int(wish["step"]), int(wish["event"])

    def work(self) -> int:
        failpoints._Script.reach = self._step  # type: ignore[method-assign, assignment]
        with Engine() as engine:
            project = engine.compose(Path.cwd() / "compose.yaml")
            try:
                self._do(project)
            except Error as err:
                print(f"{self._verb}: {err}", file=sys.stderr)
                return 1
        return 0

    def _do(self, project: ComposeProject) -> None:
        if self._verb == "down":
            project.down(volumes=True, told=self._told)
        else:
            project.up(force_recreate=self._verb == "recreate", told=self._told)

    def _step(self, _name: str) -> None:
        self._steps -= 1
        if self._steps == 0:
            os.kill(os.getpid(), self._number)

    def _told(self, _event: Told) -> None:
        self._events -= 1
        if self._events == 0:
            os.kill(os.getpid(), self._number)


def _serve() -> None:
    child = 0
    for line in sys.stdin:
        wish = json.loads(line)
        if wish:
            child = os.fork()
            if not child:
                code = 2
                with suppress(BaseException):
                    code = _Worker(wish).work()
                os._exit(code)
        else:
            os.kill(child, signal.SIGCONT)
        _pid, status = os.waitpid(child, os.WUNTRACED)
        ended = -os.WSTOPSIG(status) if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
        print(ended, flush=True)


if __name__ == "__main__":
    _serve()

"""A process that has everything imported and forks for each operation, so that hundreds can be interrupted in a test's time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from notebook_containers.linux import syscalls
from tests.home import Home
from tests.reliability.image_operations import OPERATIONS, Scene

TREE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``code`` is 0 when the operation returned, -9 when it was killed; ``seconds`` from the fork to the end."""

    code: int
    seconds: float


class Warm:
    """The process: one operation at a time, each in a fork of its own that opens the store anew. Use it in a ``with`` statement."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.reliability.warm import serve; serve()"],
            cwd=TREE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), "HOME": "/nonexistent"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._hear()

    def begin(self, operation: str, home: Home, scene: Scene, *, synced: bool = True) -> int:
        """Let it do the operation on the store of ``home``; return the pid that does it, which stays its until :meth:`end`.

        Not ``synced``: nothing that it writes is forced to the disk, so a power cut must be seen to destroy something.
        """
        assert self._process.stdin is not None
        order = [operation, str(home.top), str(scene.scratch), scene.registry, scene.number, synced]
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return int(self._hear())

    def end(self) -> Outcome:
        """Wait for the operation's end; until then its pid stays its, whatever became of it."""
        assert self._process.stdin is not None
        print("reap", file=self._process.stdin, flush=True)
        code, seconds = json.loads(self._hear())
        return Outcome(code=code, seconds=seconds)

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the warm process died"
        return line

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()


def serve() -> None:
    """Fork for each line of standard input; answer with the pid, and when it has ended with its code and time."""
    print("ready", flush=True)
    while line := sys.stdin.readline():
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _perform(*json.loads(line))
        print(pid, flush=True)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        ended = time.monotonic()
        sys.stdin.readline()
        _, status = os.waitpid(pid, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), ended - began]), flush=True)


def _perform(operation: str, top: str, scratch: str, registry: str, number: int, synced: bool) -> None:
    code = 1
    if not synced:
        os.fsync = lambda fd: None
        syscalls.syncfs = lambda fd: None
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        engine = Home(top=Path(top)).open()
        OPERATIONS[operation].run(engine, Scene(scratch=Path(scratch), registry=registry, number=number))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)

"""Operations in processes of their own, and whom to kill while they run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).parents[2]
PRELUDE = """
import sys, time
from notebook_containers import Engine
engine = Engine()
engine._parts.runtime.warm()
BASE = "localhost/base"
print("ready", flush=True)
sys.stdin.readline()
"""


def iterations(default: int) -> int:
    """How many kills for each operation: ``NBC_SWEEP``, else ``default``."""
    return int(os.environ.get("NBC_SWEEP", default))


def dice(name: str) -> random.Random:
    """A generator whose seed is printed (and so shown with a failure); ``NBC_SEED`` repeats one."""
    seed = os.environ.get("NBC_SEED") or f"{name}-{time.time_ns()}"
    print(f"NBC_SEED={seed}")
    return random.Random(seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an operation's process ended, how long it was let run, and the pid that was killed (0: none any more)."""

    code: int
    seconds: float
    output: str
    victim: int = 0


class Operation:
    """Python code that runs in a fresh process after it is told to; ``engine`` and ``BASE`` are there."""

    def __init__(self, code: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, *, after_s: float | None = None, victim: Callable[[int], int] = lambda pid: pid, number: int = signal.SIGKILL) -> Ended:
        """Let it work, and signal the process that ``victim`` chooses of its pid after that time; return how it ended."""
        assert self._process.stdin is not None
        hit = 0
        began = time.monotonic()
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        if after_s is not None:
            time.sleep(after_s)
            with suppress(ProcessLookupError, LookupError):
                hit = victim(self.pid)
                os.kill(hit, number)
        output, _ = self._process.communicate(timeout=60)
        return Ended(code=self._process.returncode, seconds=time.monotonic() - began, output=output, victim=hit)

    def stop(self) -> None:
        """End it if it still waits."""
        self._process.kill()
        self._process.communicate()


def children(pid: int) -> Sequence[int]:
    """The direct children of all threads of a process."""
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def spawner(pid: int) -> int:
    """The spawner of an engine's process; LookupError when there is none."""
    return _first([*_named(children(pid), "nbc-spawner")])


def monitor(pid: int) -> int:
    """A monitor that an engine's spawner started; LookupError when there is none."""
    return _first([found for parent in _named(children(pid), "nbc-spawner") for found in _named(children(parent), "nbc-monitor")])


def _first(pids: Sequence[int]) -> int:
    if not pids:
        raise LookupError
    return pids[0]


def _named(pids: Sequence[int], name: str) -> Iterator[int]:
    for pid in pids:
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                yield pid

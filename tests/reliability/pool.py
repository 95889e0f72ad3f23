"""Victims by the hundred: engines in processes that are forked from one warm interpreter, and killed by it at a given moment.

Run as a program it is that interpreter: single-threaded, with every module of the engine imported and nothing opened. One victim is
always ready ahead: its engine is open, its spawner warm. A line of JSON asks it for one operation; the answer tells how that ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Self

from tests.reliability.victims import TREE, monitor, spawner

PACKAGES = ("linux", "oci", "store", "runtime", "network", "registry", "build", "engine")
LONGEST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the next victim does, and when (never, if None) and which process is killed: by name, or by its pid."""

    code: str
    after_s: float | None = None
    victim: str = "engine"
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it ended: the engine's wait status (-9: killed), how long until then, who was killed (0: nobody any more).

    ``output`` is the seconds that the operation alone took, or its error.
    """

    code: int
    seconds: float
    output: str
    killed: int = 0


class Pool:
    """The calling side; one operation at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.pool"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), **environment},
            cwd=TREE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, order: Order) -> Outcome:
        """Let the next victim do it; AssertionError when the pool itself has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the pool ended: {self._process.poll()}"
        return Outcome(**json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate(timeout=LONGEST_S)  # the end of its input is the end of it


class Victim:
    """One forked engine: it waits for the code on a pipe, and its output comes on another."""

    def __init__(self) -> None:
        (code, self._code), (self._output, output) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._code)
            os.close(self._output)
            _serve(code, output)
        os.close(code)
        os.close(output)
        assert os.read(self._output, 1) == b"r", "no engine could be opened"

    def run(self, order: Order) -> Outcome:
        os.write(self._code, order.code.encode())
        os.close(self._code)
        began, killed = time.monotonic(), 0
        if order.after_s is not None:
            time.sleep(order.after_s)
            with suppress(ProcessLookupError, LookupError):
                killed = order.pid or VICTIMS[order.victim](self.pid)
                os.kill(killed, signal.SIGKILL)
        output = self._read(began + LONGEST_S)
        status = os.waitpid(self.pid, 0)[1]
        return Outcome(code=os.waitstatus_to_exitcode(status), seconds=time.monotonic() - began, output=output, killed=killed)

    def _read(self, deadline: float) -> str:
        found = b""
        while select.select([self._output], [], [], max(deadline - time.monotonic(), 0))[0]:
            data = os.read(self._output, 65536)
            found += data
            if not data:
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
            found += b" (hung)"
        os.close(self._output)
        return found.decode("utf-8", "replace")

    def dismiss(self) -> None:
        """End it without an operation."""
        os.close(self._code)
        self._read(time.monotonic() + LONGEST_S)
        os.waitpid(self.pid, 0)


VICTIMS: Mapping[str, Callable[[int], int]] = {"engine": lambda pid: pid, "spawner": spawner, "monitor": monitor}


def _serve(code: int, output: int) -> None:
    from notebook_containers import Engine

    status = 1
    try:
        os.setsid()
        os.set_inheritable(output, False)
        engine = Engine()
        engine._parts.runtime.warm()
        os.write(output, b"r")
        text = b""
        while data := os.read(code, 65536):
            text += data
        began = time.monotonic()
        exec(text.decode(), {"engine": engine, "BASE": "localhost/base", "os": os, "time": time})
        os.write(output, f"{time.monotonic() - began}".encode())
        engine.close(tidy=False)
        status = 0
    except BaseException:
        os.write(output, traceback.format_exc().encode())
    finally:
        os._exit(status)


def main() -> None:
    """Fork victims until the input ends."""
    for name in PACKAGES:
        package = importlib.import_module(f"notebook_containers.{name}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()
    victim = Victim()
    for line in sys.stdin:
        outcome = victim.run(Order(**json.loads(line)))
        print(json.dumps(asdict(outcome)), flush=True)
        victim = Victim()
    victim.dismiss()


if __name__ == "__main__":
    main()

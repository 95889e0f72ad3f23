"""Many processes that begin the same thing at one moment: forked from one warm interpreter, one of them killed if that is asked for.

Run as a program: ``python -m tests.reliability.crowd VICTIM AFTER_S DEED …`` with one JSON list, a name and arguments, for each process.
It prints one JSON list of the wait statuses, and what each said.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.victims import TREE

_LONGEST_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How one of them ended: its exit status (-9: killed), and its result or error."""

    code: int
    said: str


def together(deeds: Sequence[Sequence[str]], environment: Mapping[str, str], *, victim: int = -1, after_s: float = 0) -> list[End]:
    """Let processes do a deed each at once (its name in ``DEEDS``, then its arguments); kill number ``victim`` (-1: none) after a time."""
    words = [sys.executable, "-m", "tests.reliability.crowd", str(victim), str(after_s), *(json.dumps(each) for each in deeds)]
    done = subprocess.run(
        words,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), **environment},
        cwd=TREE,
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_S,
    )
    assert done.returncode == 0, done.stderr
    return [End(code=code, said=said) for code, said in json.loads(done.stdout)]


def _pull(root: str, name: str) -> str:
    from notebook_containers.oci.reference import Reference
    from notebook_containers.registry.pull import pull
    from notebook_containers.store.store import Store

    with Store.open(Path(root)) as store:
        return pull(store, Reference.parse(name)).id


def _build(root: str, run: str, context: str) -> str:
    from notebook_containers import Engine

    with Engine(root=Path(root), run=Path(run)) as engine:
        return engine.images.build(context, network="none").image.id


DEEDS: Mapping[str, Callable[..., str]] = {"pull": _pull, "build": _build}


def main(victim: int, after_s: float, deeds: Sequence[Sequence[str]]) -> None:
    """Fork, let all of them go at one moment, kill the victim, and tell how they ended."""
    import notebook_containers.build.build
    import notebook_containers.engine.engine
    import notebook_containers.registry.pull
    import notebook_containers.registry.wire  # noqa: F401

    gate, go = os.pipe()
    found = [_begin(each, gate, go) for each in deeds]
    os.close(gate)
    os.close(go)
    if victim >= 0:
        time.sleep(after_s)
        with suppress(ProcessLookupError):
            os.kill(found[victim][0], signal.SIGKILL)
    ends = []
    for pid, output in found:
        with open(output) as said:
            text = said.read()
        ends.append((os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text))
    print(json.dumps(ends))


def _begin(deed: Sequence[str], gate: int, go: int) -> tuple[int, int]:
    """Fork one of them; it waits until the gate is open. Return its pid, and where its words can be read."""
    output, said = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        os.setsid()
        os.close(go)
        try:
            os.read(gate, 1)
            os.write(said, DEEDS[deed[0]](*deed[1:]).encode())
            status = 0
        except BaseException:  # this process is only there for this
            os.write(said, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(said)
    return pid, output


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), [json.loads(each) for each in sys.argv[3:]])

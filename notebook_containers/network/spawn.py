"""Start a process of this package that outlives the notebook: nothing inherited but named descriptors, nobody's child, no zombie."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from notebook_containers.errors import NetworkError

_START = "import sys; from importlib import import_module; sys.path.append(sys.argv[1]); import_module(sys.argv[2]).main(sys.argv[3])"
_TIMEOUT_S = 20


def spawn(module: str, plan: Mapping[str, object], *, descriptors: Sequence[int], what: str) -> int:
    """Run ``main(<plan as JSON>)`` of a module of this package and return the id of the process that stays, once it says it is ready.

    It gets an empty environment, the directory /, a session of its own and only the named descriptors, under their own numbers. The
    module must fork once (the part that stays belongs to init), then write "ready <pid>" or "failed <why>" to standard output and close
    it. Raises NetworkError beginning with ``what``.
    """
    said = ask(module, plan, descriptors=descriptors, what=what)
    word, _, rest = said.strip().partition(" ")
    if word != "ready" or not rest.isdecimal():
        raise NetworkError(f"{what}: {' '.join(rest.split()) or 'the process did not start'}")
    return int(rest)


def ask(module: str, plan: Mapping[str, object], *, descriptors: Sequence[int], what: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Run ``main(<plan as JSON>)`` of a module of this package as :func:`spawn` does, and return what it wrote to standard output."""
    root = str(Path(__file__).resolve().parents[2])
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-E", "-c", _START, root, module, json.dumps(plan)],
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            start_new_session=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as err:
        raise NetworkError(f"{what}: {err}") from err
    return done.stdout.decode("utf-8", "replace")

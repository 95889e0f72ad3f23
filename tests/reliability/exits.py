"""How containers end, told by Docker and by us for the same words on the command line over the same files.

``python -m tests.reliability.exits FILE`` (root) runs on the benchmark's stage: Docker's daemon is private, and gone at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import stage
from tests.bench.ours import IMAGE, Ours
from tests.bench.peers.docker import docker

CGROUP = "nbc-exits-docker"
EATER = "awk 'BEGIN { text = \"x\"; while (length(text) < 200000000) text = text text }'"
FILES = {"garbage": b"\0garbage", "script": b"#!/no/such\n", "words": b"echo no interpreter is named\n", "closed": b"#!/bin/sh\n"}
PROFILE = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A container of ``words`` (``{files}`` is the directory of :data:`FILES`), killed with ``signal`` if one is named."""

    words: tuple[str, ...]
    options: tuple[str, ...] = ()
    signal: str = ""


def shell(script: str, *options: str) -> Case:
    return Case(words=("sh", "-c", script), options=options)


CASES: Mapping[str, Case] = {
    **{f"exit {code}": shell(f"exit {code}") for code in (0, 1, 126, 255)},
    **{f"killed by {name}": Case(words=("sleep", "1000"), options=("--pid=host",), signal=name) for name in ("TERM", "34")},
    "killed by KILL": Case(words=("sleep", "1000"), signal="KILL"),
    "with an init, killed by TERM": Case(words=("sleep", "1000"), options=("--init",), signal="TERM"),
    "with an init, by itself": shell("kill -SEGV $$", "--init"),
    "a child was killed": shell("sh -c 'kill -9 $$'; exit $?"),
    "out of memory": shell(f"exec {EATER}", "--memory=16m"),
    "a child was out of memory": shell(f"{EATER}; exit 0", "--memory=16m"),
    "a forbidden system call": Case(words=("mkdir", "/x"), options=("--security-opt", "seccomp={files}/profile.json")),
    "no such program": Case(words=("no-such-program",)),
    "no such file": Case(words=("/no/such",)),
    "a directory": Case(words=("/etc",)),
    "not executable": Case(words=("/files/closed",)),
    "no program": Case(words=("/files/garbage",)),
    "no interpreter named": Case(words=("/files/words",)),
    "no such interpreter": Case(words=("/files/script",)),
    "no such directory": Case(words=("true",), options=("--workdir", "/etc/passwd")),
    "no such user": Case(words=("true",), options=("--user", "nobody-here")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One command line."""

    command: Sequence[str]
    environment: Mapping[str, str]

    def call(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [*self.command, *words], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout

    def end(self, image: str, case: Case, files: Path) -> str:
        """Return how the container ended, and whether memory ran out: ``137 OOM``; or the status of a run that could not start."""
        options = [word.replace("{files}", str(files)) for word in case.options]
        run = ["run", "--detach", "--name=it", "--network=none", f"--volume={files}:/files:ro", *options, image, *case.words]
        status, _output = self.call(*run)
        if status:
            self.call("rm", "--force", "it")
            return f"refused with {status}"
        if case.signal:
            self.call("kill", f"--signal={case.signal}", "it")
        code = self.call("wait", "it")[1].strip()
        state = json.loads(self.call("inspect", "it")[1])[0]["State"]
        self.call("rm", "it")
        same = str(state["ExitCode"]) == code
        return f"{code}{' OOM' if state['OOMKilled'] else ''}{'' if same else ' but inspect says ' + str(state['ExitCode'])}"


def main(output: str) -> int:
    """Enter the stage, or look and write ``output`` when on it."""
    if not stage.place():
        return stage.enter([output], module="tests.reliability.exits")
    stage.settle()
    place = Path(stage.place())
    files = place / "files"
    files.mkdir()
    for name, data in FILES.items():
        (files / name).write_bytes(data)
        (files / name).chmod(0o644 if name == "closed" else 0o755)
    (files / "profile.json").write_text(json.dumps(PROFILE))
    ours = Ours(place / "ours")
    try:
        ours.export(place / "root.tar")
        us = Side(command=[sys.executable, str(ours._script)], environment=ours.environment)
        found = {"ours": _table(us, IMAGE, files)}
        with docker(place, cgroup=CGROUP) as client:
            client.call("import", str(place / "root.tar"), "it")
            them = Side(command=["docker", "--host", f"unix://{place}/docker/sock"], environment={"PATH": os.environ["PATH"]})
            found["docker"] = {} if client.missing else _table(them, "it", files)
    finally:
        ours.close()
    Path(output).write_text(json.dumps(found))
    return 0


def _table(side: Side, image: str, files: Path) -> dict[str, str]:
    return {name: side.end(image, case, files) for name, case in CASES.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

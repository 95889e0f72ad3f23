"""Gives docker and nbc the same command lines, and writes down what each answers: ``beside_verbs.txt`` has them.

``python -m tests.cli.beside_verbs FILE`` (root) runs on the benchmark's stage: Docker's daemon is private, and gone at the end.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from notebook_containers.cli import main as nbc
from tests.bench import stage
from tests.bench.ours import IMAGE, Ours
from tests.bench.peers.docker import docker

Answer = tuple[int, str, bool]
"""Exit status, normalised standard output, and whether something was written to standard error."""

LINES = Path(__file__).with_suffix(".txt")
CGROUP = "nbc-beside-verbs"


def lines() -> list[str]:
    """Return the command lines as they stand in the file."""
    return [line for section in sections() for line in section]


def sections() -> list[list[str]]:
    """Return the command lines by section."""
    parts = re.split(r"^## .*$", LINES.read_text(), flags=re.MULTILINE)
    return [[line for line in part.splitlines() if line and not line.startswith("#")] for part in parts[1:]]


def words(line: str) -> tuple[list[str], str]:
    """Return a line's words and its standard input."""
    command, _, typed = line.partition(" <")
    full = command.replace("RUN ", "run --rm --network none ", 1) if command.startswith("RUN ") else command
    return [word.replace("IMAGE", IMAGE) for word in shlex.split(full)], typed


def main(output: str) -> int:
    """Enter the stage, or ask both and write ``output`` when on it."""
    if not stage.place():
        return stage.enter([output], module="tests.cli.beside_verbs")
    stage.settle()
    place = Path(stage.place())
    ours = Ours(place / "ours")
    try:
        archive = place / "root.tar"
        ours.export(archive)
        found = _both(place, archive, ours)
    finally:
        ours.close()
    Path(output).write_text(json.dumps(found))
    return 0


def _both(place: Path, archive: Path, ours: Ours) -> dict[str, object]:
    with docker(place, cgroup=CGROUP) as client:
        client.call("import", str(archive), IMAGE)
        if client.missing:
            return {"missing": client.missing}
        (place / "docker-here").mkdir()
        (place / "nbc-here").mkdir()

        def ask(command: Sequence[str], typed: str) -> tuple[int, str, str]:
            done = subprocess.run(
                client.command(*command), env=client.environment, input=typed, capture_output=True, text=True, timeout=60, check=False,
                cwd=place / "docker-here",
            )  # fmt: skip
            return done.returncode, done.stdout, done.stderr

        with ThreadPoolExecutor(len(sections())) as pool:  # its daemon spends most of the time waiting
            *others, last = sections()
            before = [pool.submit(_answers, ask, place / "docker-here", section) for section in others]

            def alone() -> list[Answer]:
                wait(before)  # the last section lists containers: nobody else may have any
                return _answers(ask, place / "docker-here", last)

            asked = [*before, pool.submit(alone)]
            os.environ.update(NBC_ROOT=str(ours.root), NBC_RUN=str(ours.run))
            own = _answers(_nbc, place / "nbc-here", lines())
            theirs = [answer for each in asked for answer in each.result()]
        left = client.call("ps", "--all", "--quiet").split()
        if left:
            client.call("rm", "--force", *left)
    return {"docker": theirs, "ours": own}


def _answers(ask: Callable[[Sequence[str], str], tuple[int, str, str]], here: Path, given: Sequence[str]) -> list[Answer]:
    (here / "vars").write_text("A=from file\nB=b\n")
    found: list[Answer] = []
    for line in given:
        command, typed = words(line)
        status, out, err = ask(command, typed)
        found.append((status, normal(out), bool(err.strip())))
    return found


def _nbc(command: Sequence[str], typed: str) -> tuple[int, str, str]:
    """Run the command line in this process, whose standard streams are files meanwhile: a process of its own would take far longer."""
    here = Path(stage.place()) / "nbc-here"
    before, kept = Path.cwd(), [os.dup(number) for number in range(3)]
    streams = sys.stdin, sys.stdout, sys.stderr
    files = [tempfile.TemporaryFile() for _ in range(3)]
    try:
        os.chdir(here)
        files[0].write(typed.encode())
        files[0].seek(0)
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(os.fdopen(os.dup(n), "rb+" if n else "rb"), write_through=True) for n in range(3)
        )
        status = nbc.run(list(command))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, fd in enumerate(kept):
            os.dup2(fd, number)
            os.close(fd)
        os.chdir(before)
    texts = []
    for file in files[1:]:
        with file:
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    files[0].close()
    return status, texts[0], texts[1]


def normal(text: str) -> str:
    """Return output without ids, times and the widths of columns."""
    text = re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b", "ID", text)
    text = re.sub(r"(Less than a|About a|\d+) (second|minute)s?", "TIME", text)
    return re.sub(r" {2,}", "  ", text).replace("\r\n", "\n").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

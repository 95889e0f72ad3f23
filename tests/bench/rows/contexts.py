"""A context of 20,000 files, built for the first time and after one of them changed; a Dockerfile of 120 instructions."""

from __future__ import annotations

import itertools
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

from notebook_containers.engine.steps import Steps
from tests.bench.bench import Bench
from tests.bench.measure import NO_TARGET, Contender, Row, contest, faster, within
from tests.bench.ours import IMAGE
from tests.bench.peers.tool import Tool

FILES, DIRECTORIES, BYTES = 20_000, 200, 1000
INSTRUCTIONS = 120
_DOCKERFILE = f"FROM {IMAGE}\nCOPY . /srv\n"


def rows(bench: Bench) -> list[Row]:
    """Time both; everybody has a context of its own, and each round of the first build has a new one."""
    numbers = itertools.count()
    contexts = {name: bench.place / f"files-{name}" for name in ("ours", "buildah", "docker")}
    actions: dict[str, Callable[[], object]] = {
        "ours": lambda: bench.ours.engine.images.build(contexts["ours"], tag="files"),
        "buildah": _builder(bench.buildah, contexts["buildah"], "bud", "--layers"),
        "docker": _builder(bench.docker, contexts["docker"], "build"),
    }
    targets = {"buildah": faster(3), "docker": NO_TARGET}

    def contenders(reset: Callable[[Path, int], None]) -> dict[str, Contender]:
        def again(name: str) -> Callable[[], None]:
            return lambda: reset(contexts[name], next(numbers))

        return {name: Contender(act=act, reset=again(name), target=targets.get(name, NO_TARGET)) for name, act in actions.items()}

    found = []
    for work, reset in (("a new context", _fill), ("one of them changed", _change)):
        for context in contexts.values():
            _fill(context, next(numbers))
        peers = contenders(reset)
        found += contest(f"build, COPY of {FILES:,} files: {work}", peers.pop("ours"), peers, repeat=min(bench.repeat, 5))
    return found


def instructions(bench: Bench) -> list[Row]:
    """Compare what the last of 120 instructions costs with what the first does, in one build."""
    context = bench.place / "many-instructions"
    context.mkdir()
    text = "".join(f"RUN echo {number} > /{number}\n" for number in range(1, INSTRUCTIONS))
    (context / "Dockerfile").write_text(f"FROM {IMAGE}\n{text}")
    builds = [bench.ours.engine.images.build(context, tag="many", network="none", nocache=True).steps for _ in range(min(bench.repeat, 3))]
    first, last = _median(builds, slice(1, 11)), _median(builds, slice(-10, None))
    work = f"a Dockerfile of {INSTRUCTIONS} instructions: one of the last ten RUN"
    return [Row(work=work, ours=last, peer="one of the first ten", theirs=first, target=within(1.3))]


def _median(builds: list[Steps], which: slice) -> float:
    return statistics.median(step.seconds for steps in builds for step in steps[which]) * 1000


def _builder(tool: Tool, context: Path, *words: str) -> Callable[[], object]:
    return lambda: tool.call(*words, "--tag", "localhost/files", str(context))


def _fill(context: Path, number: int) -> None:
    """Make the context anew, with content that no build has seen."""
    shutil.rmtree(context, ignore_errors=True)
    content = f"{number} ".encode() * BYTES
    for directory in (context / f"d{each}" for each in range(DIRECTORIES)):
        directory.mkdir(parents=True)
        for each in range(FILES // DIRECTORIES):
            (directory / f"f{each}").write_bytes(f"{directory.name} {each} ".encode() + content[:BYTES])
    (context / "Dockerfile").write_text(_DOCKERFILE)


def _change(context: Path, number: int) -> None:
    (context / "d7" / "f7").write_text(str(number))

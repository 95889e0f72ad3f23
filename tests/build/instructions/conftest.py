"""Each instruction in real builds by the whole engine, as root and as an ordinary user: a process of each builds what it is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from tests.build.instructions.agent import Answer, Entry
from tests.home import BASE, Home
from tests.people import TREE, Person, person

ARGUMENTS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build made: the image, and what was told of it."""

    answer: Answer

    @property
    def id(self) -> str:
        return self.answer["id"]

    @property
    def config(self) -> Mapping[str, object]:
        """The config's own ``config`` object, and ``author``."""
        return self.answer["config"]

    @property
    def env(self) -> dict[str, str]:
        return dict(entry.partition("=")[::2] for entry in cast("list[str]", self.config["Env"]))

    @property
    def history(self) -> list[str]:
        """What made each step of the image, the base left out."""
        return self.answer["history"]

    @property
    def labels(self) -> dict[str, str]:
        """The labels, the base's own descriptions left out."""
        found = cast("dict[str, str]", self.config.get("Labels", {}))
        return {name: value for name, value in found.items() if not name.startswith("org.opencontainers.image.")}

    @property
    def layers(self) -> list[dict[str, Entry]]:
        """The entries of each layer above the base, by name."""
        return [layer for layer in self.answer["layers"] if layer]

    @property
    def files(self) -> dict[str, Entry]:
        """What the layers show together, for images that delete nothing."""
        return {name: entry for layer in self.layers for name, entry in layer.items()}

    def text(self, name: str) -> str:
        return self.files[name]["text"]

    @property
    def said(self) -> str:
        """What the commands of RUN printed."""
        return self.answer["said"]

    @property
    def warnings(self) -> list[list[object]]:
        """Line, rule and words of each remark."""
        return self.answer["warnings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A build that failed: the error's words, its hint and its line."""

    message: str
    hint: str
    line: int


@dataclass(slots=True, kw_only=True)
class Builds:
    """Builds as one user, in a store of its own."""

    process: subprocess.Popen[str]
    root: bool

    def __call__(
        self, text: str, files: Mapping[str, str] | None = None, *, arguments: Mapping[str, str] = ARGUMENTS, target: str = "",
        tag: str = "out", run: Sequence[str] | None = None,
    ) -> Built:  # fmt: skip
        """Build and return what was made; ``run`` is a command to run in the image."""
        answer = self._ask(text, files or {}, arguments, target, tag, run)
        assert "error" not in answer, answer
        return Built(answer=answer)

    def refused(self, text: str, files: Mapping[str, str] | None = None, *, target: str = "") -> Refused:
        """Build what cannot be built."""
        answer = self._ask(text, files or {}, {}, target, "refused", None)
        assert "error" in answer, answer
        return Refused(message=answer["error"], hint=answer["hint"], line=answer["line"])

    def _ask(
        self, text: str, files: Mapping[str, str], arguments: Mapping[str, str], target: str, tag: str, run: Sequence[str] | None
    ) -> Answer:
        assert self.process.stdin
        assert self.process.stdout
        text = text.replace("FROM base", f"FROM {BASE}").replace("--from=base ", f"--from={BASE} ")
        asked = {"text": text, "files": files, "arguments": arguments, "target": target, "tag": tag, "command": run}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, "the building process ended"
        return cast("Answer", json.loads(line))


@pytest.fixture(scope="package")
def ordinary() -> Iterator[Person]:
    with person(lent=True) as made:
        yield made


@pytest.fixture(scope="package", params=[pytest.param("root", marks=pytest.mark.root), pytest.param("user", marks=pytest.mark.user)])
def builds(request: pytest.FixtureRequest) -> Iterator[Builds]:
    """Build as root, then as an ordinary user."""
    if request.param == "root":
        with tempfile.TemporaryDirectory(prefix="nbct-", dir="/tmp") as text, started(0, 0, Path(text), dict(os.environ)) as made:
            yield made
        return
    user: Person = request.getfixturevalue("ordinary")
    with started(user.uid, user.gid, user.home, user.environment) as made:
        yield made


@contextmanager
def started(uid: int, gid: int, place: Path, environment: Mapping[str, str]) -> Iterator[Builds]:
    """Start the process that builds as a user; it ends when its standard input does."""
    home = Home(top=place)
    python = "/usr/bin/python3" if uid else sys.executable
    command = [python, "-m", "tests.build.instructions.agent", str(place)]
    with open(place / "log", "w+") as log:
        process = subprocess.Popen(
            command, user=uid, group=gid, extra_groups=[] if uid else None, env={**environment, **home.variables()}, cwd=TREE,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        try:
            yield Builds(process=process, root=not uid)
        finally:
            process.stdin.close()
            status = process.wait(timeout=30)
            process.stdout.close()
    assert status == 0, (place / "log").read_text()[-3000:]

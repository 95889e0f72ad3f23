"""Projects of 2 and of 20 services: up, an up that has nothing to do, down; by the command line of both, and in a warm process here.

The peer is docker-compose 1.29 as Debian packages it, with the same file, the same image and docker's daemon. Every service sleeps and is
killed at once when it is to stop, so that neither side waits for a program.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.measure import Contender, Row, at_most, contest, faster
from tests.bench.ours import IMAGE
from tests.bench.peers.compose import docker_compose

_LIMIT_MS = 50


def _file(place: Path, count: int) -> Path:
    """Write a project whose services depend on the first one."""
    directory = place / f"project{count}"
    directory.mkdir(exist_ok=True)
    lines = ['version: "2.4"', "services:"]
    for number in range(count):
        lines += [f"  s{number}:", f"    image: {IMAGE}", "    command: sleep 1000", "    stop_grace_period: 0s"]
        lines += ["    depends_on: [s0]"] if number else []
    (directory / "compose.yaml").write_text("\n".join(lines) + "\n")
    return directory / "compose.yaml"


def rows(bench: Bench) -> list[Row]:
    """Time all verbs of both projects."""
    return [row for count in (2, 20) for row in _rows(bench, count)]


def _rows(bench: Bench, count: int) -> list[Row]:
    file = str(_file(bench.place, count))
    peer = docker_compose(bench.docker, bench.place)
    project = bench.ours.engine.compose(file)

    def ours(*words: str) -> None:
        bench.ours.call("compose", "-f", file, *words)

    def theirs(*words: str) -> None:
        peer.call("-f", file, *words)

    name, four = f"compose, {count} services:", faster(4)
    found = contest(
        f"{name} up -d",
        Contender(act=lambda: ours("up", "-d"), reset=lambda: ours("down")),
        {"docker-compose": Contender(act=lambda: theirs("up", "-d"), reset=lambda: theirs("down"), target=four)},
        repeat=bench.repeat,
    )
    found += contest(
        f"{name} down",
        Contender(act=lambda: ours("down"), reset=lambda: ours("up", "-d")),
        {"docker-compose": Contender(act=lambda: theirs("down"), reset=lambda: theirs("up", "-d"), target=four)},
        repeat=bench.repeat,
    )
    found += contest(
        f"{name} up -d, nothing to do",
        Contender(act=lambda: ours("up", "-d")),
        {"docker-compose": Contender(act=lambda: theirs("up", "-d"), target=four)},
        repeat=bench.repeat,
    )
    found += contest(f"{name} up, nothing to do, warm", Contender(act=project.up, target=at_most(_LIMIT_MS)), {}, repeat=bench.repeat)
    ours("down")
    if not peer.missing:
        theirs("down")
    return found

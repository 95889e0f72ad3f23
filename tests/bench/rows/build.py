"""A build of seven instructions, three of them RUN: nothing cached, and everything cached in a warm process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.measure import NO_TARGET, Contender, Row, Target, at_most, contest, faster
from tests.bench.ours import IMAGE
from tests.bench.peers.tool import Tool

TEXT = f"""FROM {IMAGE}
ENV GREETING=hello
RUN echo "$GREETING" > /one
COPY data /data
RUN cat /data > /two
RUN mkdir /three && cp /one /two /three
CMD ["true"]
"""


def uncached(bench: Bench) -> list[Row]:
    """Time it with no cache."""
    ours = Contender(act=lambda: _ours(bench, nocache=True))
    return contest("build, 7 instructions, 3 RUN, no cache", ours, _peers(bench, faster(8), "--no-cache"), repeat=bench.repeat)


def cached(bench: Bench) -> list[Row]:
    """Time it with everything cached."""
    ours = Contender(act=lambda: _ours(bench, nocache=False), target=at_most(10))
    return contest("build, 7 instructions, all cached, warm", ours, _peers(bench, NO_TARGET), repeat=bench.repeat)


def _ours(bench: Bench, *, nocache: bool) -> None:
    bench.ours.engine.images.build(_context(bench), tag="bench", nocache=nocache)


def _peers(bench: Bench, target: Target, *words: str) -> dict[str, Contender]:
    context = str(_context(bench))

    def build(tool: Tool, verb: str, *more: str) -> Callable[[], object]:
        return lambda: tool.call(verb, *words, *more, "--tag", "localhost/bench", context)

    return {
        "docker": Contender(act=build(bench.docker, "build"), target=target),
        "docker BuildKit": Contender(act=build(bench.buildkit, "build"), target=target),
        "buildah": Contender(act=build(bench.buildah, "bud", "--layers"), target=target),
    }


def _context(bench: Bench) -> Path:
    context = bench.place / "context"
    if not context.exists():
        context.mkdir()
        (context / "data").write_text("data\n")
        (context / "Dockerfile").write_text(TEXT)
    return context

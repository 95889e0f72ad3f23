"""``python -m tests.bench [ROW ...] [--repeat N] [--write]``: every claim of speed as a ratio against a peer, measured in one run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.bench import machine, report, stage
from tests.bench.bench import Bench, opened
from tests.bench.measure import Row
from tests.bench.rows import (
    attaching,
    build,
    commit,
    compose,
    contexts,
    exec,  # noqa: A004
    flood,
    listing,
    many,
    memory,
    names,
    run_bridge,
    run_cli,
    run_none,
    throughput,
    transfer,
    unpack,
)

ROWS: Mapping[str, Callable[[Bench], list[Row]]] = {
    "run-none": run_none.rows,
    "run-bridge": run_bridge.rows,
    "run-cli": run_cli.rows,
    "exec": exec.rows,
    "flood": flood.rows,
    "build": build.uncached,
    "build-cached": build.cached,
    "build-context": contexts.rows,
    "build-instructions": contexts.instructions,
    "memory": memory.rows,
    "many": many.rows,
    "unpack": unpack.rows,
    "commit": commit.rows,
    "push": transfer.push,
    "pull": transfer.pull,
    "pull-memory": transfer.memory,
    "listing": listing.rows,
    "names": names.rows,
    "attaching": attaching.rows,
    "throughput": throughput.rows,
    "compose": compose.rows,
}


def main(arguments: Sequence[str]) -> int:
    """Enter the stage, or measure when on it."""
    options = _options(arguments)
    if os.geteuid() != 0:
        print("root is needed: Docker is measured with a daemon of its own")
        return 2
    if not stage.place():
        return stage.enter(arguments)
    print(*machine.facts(), *machine.versions(), f"load: {os.getloadavg()[0]:.1f}, repeat: {options.repeat}", "", sep="\n", flush=True)
    stage.settle()
    with opened(Path(stage.place()), options.repeat) as bench:
        for name in _chosen(options.rows):
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            os.sync()  # what was imported or unpacked before is not to be written during this row
            rows = ROWS[name](bench)
            print(report.table(rows), end="\n\n", flush=True)  # each when it is there: a run that is cut off tells what it has
            if options.write:
                report.write({name: rows}, options.repeat)
    if options.write:
        print(f"written: {report.RESULTS}")
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"what to measure (all): {', '.join(ROWS)}; a beginning is enough")
    parser.add_argument("--repeat", type=int, default=10, metavar="N", help="rounds of each row (default 10)")
    parser.add_argument("--write", action="store_true", help="update tests/bench/RESULTS.md")
    options = parser.parse_args(arguments)
    for word in options.rows:
        if not any(name.startswith(word) for name in ROWS):
            parser.error(f"there is no row {word!r}: choose from {', '.join(ROWS)}")
    return options


def _chosen(words: Sequence[str]) -> list[str]:
    return [name for name in ROWS if not words or any(name == word or (word not in ROWS and name.startswith(word)) for word in words)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

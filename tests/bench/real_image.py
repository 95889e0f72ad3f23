"""``python -m tests.bench.real_image [--repeat N] [--write]``: what a build adds to apt-get, a compiler and httpd from source.

The tests' real image, against the same commands in a bare chroot. It is not a row of ``python -m tests.bench`` because apt needs the
machine's own network, which the stage hides; it makes no link and no rule itself. ``NBC_TEST_DEBIAN`` names the archive of a Debian
(.ci/debian makes it).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from notebook_containers import Engine
from tests.bench import report
from tests.bench.measure import Contender, Row, Unavailable, contest, within

CONTEXT = Path(__file__).parents[1] / "journeys" / "httpd"
_ENTER = (
    'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && cp /etc/resolv.conf "$1/etc/resolv.conf" && exec chroot "$1" sh -c "$2"'
)
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "SOURCE_DATE_EPOCH": "1700000000"}


def main(arguments: Sequence[str]) -> int:
    """Measure and print the row."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.real_image", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds after the first, which does not count (default 3)")
    parser.add_argument("--write", action="store_true", help="update tests/bench/RESULTS.md")
    options = parser.parse_args(arguments)
    archive = Path(os.environ.get("NBC_TEST_DEBIAN", ""))
    if os.geteuid() != 0 or not archive.is_file():
        print("root is needed, and NBC_TEST_DEBIAN: the archive of a Debian (.ci/debian makes it)")
        return 2
    found = rows(archive, options.repeat)
    print(report.table(found))
    if options.write:
        report.write({"build-real": found}, options.repeat)
    return 0


def rows(archive: Path, repeat: int) -> list[Row]:
    """Time both in turns."""
    with tempfile.TemporaryDirectory(prefix="nbc-bench-") as directory, Engine(root=f"{directory}/root", run=f"{directory}/run") as engine:
        with archive.open("rb") as file:
            engine.images.import_image(file, "debian", "test")
        tree = Path(directory) / "chroot"
        _unpack(archive, tree)
        ours = Contender(act=lambda: engine.images.build(CONTEXT, tag="real", network="host", nocache=True))
        chroot = Contender(act=lambda: _by_hand(tree), reset=lambda: _unpack(archive, tree), target=within(1.05))
        work = "the real image: apt-get, gcc, httpd from source"
        return contest(work, ours, {"the same in a bare chroot": chroot}, repeat=repeat)


def _unpack(archive: Path, tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", tree], check=True)


def _by_hand(tree: Path) -> None:
    """Do what the Dockerfile says with the plainest means: RUN in a chroot, files by copying them."""
    directory = "/"
    for line in re.sub(r"\\\n", " ", (CONTEXT / "Dockerfile").read_text()).splitlines():
        word, _, rest = line.partition(" ")
        if word == "RUN":
            _run(tree, f"cd {directory} && {rest}")
        elif word == "WORKDIR":
            directory = rest
            (tree / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "ADD":
            shutil.copy(CONTEXT / "start.sh", tree / "usr/local/bin/start")
        elif word == "COPY":
            shutil.copytree(CONTEXT / "site", tree / "srv/site")


def _run(tree: Path, command: str) -> None:
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "sh", str(tree), command]
    done = subprocess.run(words, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"the chroot failed: {done.stderr.strip()[-160:]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

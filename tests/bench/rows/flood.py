"""A container that writes as fast as it can, into a log that is rotated, against the same programs writing into a pipe and docker's log."""

from __future__ import annotations

import subprocess
from contextlib import suppress

from notebook_containers.engine.container import Container
from tests.bench.bench import Bench
from tests.bench.machine import SEARCH
from tests.bench.measure import Contender, Row, Unavailable, contest, within
from tests.bench.ours import IMAGE

NAME = "bench-flood"
MEGABYTES = 200
_SCRIPT = f"yes {'x' * 99} | head -c {MEGABYTES}000000"
_LOG = {"max-size": "10m", "max-file": "3"}


def rows(bench: Bench) -> list[Row]:
    """Time from the start of such a container to its end; half as fast as a pipe that is read and thrown away is enough (REL-23)."""
    return contest(
        f"a container writes {MEGABYTES} MB into its log",
        Contender(act=lambda: _ours(bench)),
        {
            "a pipe": Contender(act=_pipe, target=within(2)),
            "docker (json-file)": Contender(act=lambda: _docker(bench), reset=lambda: _forget(bench)),
        },
        repeat=bench.repeat,
    )


def _ours(bench: Bench) -> None:
    given = {"type": "json-file", "config": _LOG}
    container = bench.ours.engine.containers.run(IMAGE, ["sh", "-c", _SCRIPT], detach=True, network="none", log_config=given)
    assert isinstance(container, Container)
    container.wait()
    container.remove()


def _pipe() -> None:
    words = ["busybox", "sh", "-c", f"{_SCRIPT} | cat >/dev/null"]
    subprocess.run(words, env={"PATH": SEARCH}, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _docker(bench: Bench) -> None:
    options = [word for name, value in _LOG.items() for word in ("--log-opt", f"{name}={value}")]
    bench.docker.call("run", "--detach", "--network", "none", "--name", NAME, *options, IMAGE, "sh", "-c", _SCRIPT)
    bench.docker.call("wait", NAME)


def _forget(bench: Bench) -> None:
    with suppress(Unavailable):
        bench.docker.call("rm", "--force", NAME)

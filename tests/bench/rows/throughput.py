"""Bytes through the bridge with iperf3: container to host, and container to container; the program is the machine's, seen under /host."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.bench.bench import Bench
from tests.bench.machine import SEARCH
from tests.bench.measure import Row, Unavailable, within
from tests.bench.ours import IMAGE

SECONDS = "1"
_WORKS = ("container to host", "container to container")
_SERVER, _CLIENT, _PORT = "nbc-bench-server", "nbc-bench-client", "25201"
_RUN = ("-v", "/:/host:ro", "--stop-timeout", "0")
Call = Callable[..., object]


def rows(bench: Bench) -> list[Row]:
    """Measure both ways against docker's bridge, by short turns; what is compared is the time that a gigabyte takes.

    Everybody's containers stay for the whole row: what else the machine does, and how warm it is, then hits all alike.
    """
    sides: dict[str, Call] = {"": bench.ours.call, "docker": bench.docker.call}
    missing: dict[str, str] = {}
    samples: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        places: dict[str, tuple[str, str]] = {}
        for side, call in sides.items():
            try:
                places[side] = stack.enter_context(_stage(call))
            except Unavailable as err:
                if not side:
                    raise
                missing[side] = str(err)
        for turn in range(bench.repeat + 1):
            for side in sorted(places, reverse=bool(turn % 2)):
                for work, address in zip(_WORKS, places[side], strict=True):
                    taken = _milliseconds_per_gigabyte(sides[side], address)
                    if turn:
                        samples.setdefault((work, side), []).append(taken)
    medians = {key: statistics.median(values) for key, values in samples.items()}
    return [
        Row(
            work=f"1 GB, {work}, bridge", ours=medians[work, ""], peer="docker", theirs=medians.get((work, "docker")),
            missing=missing.get("docker", ""), target=within(1.05),
        )
        for work in _WORKS
    ]  # fmt: skip


@contextmanager
def _stage(call: Call) -> Iterator[tuple[str, str]]:
    """Start a server in a container and one here, and a client; yields the host's and the server's address as the client has them."""
    server = (*_program(), "-s", "-p", _PORT)
    started: list[str] = []
    try:
        for name, words in ((_SERVER, server), (_CLIENT, ("sleep", "1000"))):
            call("run", "-d", "--name", name, *_RUN, "--add-host", "here:host-gateway", IMAGE, *words)
            started.append(name)
        gateway, address = _inspected(call, "Gateway"), _inspected(call, "IPAddress")
        here = subprocess.Popen(["iperf3", "-s", "-p", _PORT, "-B", gateway], env={"PATH": SEARCH}, stdout=subprocess.DEVNULL)
        try:
            yield gateway, address
        finally:
            here.terminate()
            here.wait(10)
    finally:
        for name in started:
            call("rm", "-f", name)


def _program() -> list[str]:
    """Return the machine's iperf3 with its loader and libraries, as a container sees them."""
    program = shutil.which("iperf3", path=SEARCH)
    if program is None:
        raise Unavailable("iperf3 is not installed")
    words = subprocess.run(["ldd", program], env={"PATH": SEARCH}, capture_output=True, text=True, check=True).stdout.split()
    files = [word for word in words if word.startswith("/")]
    loader = next(word for word in files if "/ld-" in word)
    places = sorted({f"/host{word.rpartition('/')[0]}" for word in files})
    return [f"/host{loader}", "--library-path", ":".join(places), f"/host{program}"]


def _inspected(call: Call, field: str) -> str:
    template = "{{range .NetworkSettings.Networks}}{{." + field + "}}{{end}}"
    return _text(call("inspect", "-f", template, _SERVER)).strip()


def _milliseconds_per_gigabyte(call: Call, address: str) -> float:
    once = f"{' '.join(_program())} -c {address} -p {_PORT} -t {SECONDS} -J"
    said = _text(call("exec", _CLIENT, "sh", "-c", f"for i in 1 2 3 4 5 6 7 8 9; do {once} && exit; sleep 0.2; done"))
    result = json.loads(said[said.rindex('{\n\t"start"') :])
    return 8e12 / float(result["end"]["sum_received"]["bits_per_second"])


def _text(output: object) -> str:
    return output.decode() if isinstance(output, bytes) else str(output)

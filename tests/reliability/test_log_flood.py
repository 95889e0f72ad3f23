"""REL-23: floods into the log: disk, speed, the longest line, binary bytes, followers that stall, a monitor killed while it rotates.

``NBC_FLOOD=1000000000`` writes a gigabyte (300 MB without it).
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from tests.home import BASE, Home
from tests.reliability.test_ends import until

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

FLOOD = int(os.environ.get("NBC_FLOOD", "300000000"))
LINE = "x" * 99
CHUNK = (1 << 18) + 64 * 2622
"""What the monitor reads at once, and the beginnings of its lines."""
ENTRY = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) [FP] [^\n]*")
COPY = """
import os
fd, size = -1, 1 << 30
while data := os.read(0, 65536):
    if size > 10_000_000:
        if fd >= 0:
            os.close(fd)
            os.rename("copy", "old")
        fd, size = os.open("copy", os.O_WRONLY | os.O_CREAT), 0
    size += os.write(fd, data + data[:28835])  # as much as with the beginnings of the lines
"""


def writing(engine: Engine, script: str, *, most: str = "1m", files: int = 3, **given: object) -> Container:
    options = {"type": "json-file", "config": {"max-size": most, "max-file": str(files)}}
    container = engine.containers.run(
        BASE,
        ["sh", "-c", script],
        network="none",
        detach=True,
        stop_timeout=0,
        log_config=options,
        **given,  # type: ignore[arg-type]
    )
    assert isinstance(container, Container)
    return container


def log_files(place: Home, container: Container) -> list[Path]:
    return list((place.root / "containers" / container.id).glob("container.log*"))


def seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def copying_s(place: Path, size: int) -> float:
    """How much CPU a process needs that reads so many bytes from a pipe and writes them into rotated files."""
    command = ["busybox", "dd", "if=/dev/zero", "bs=4096", f"count={size // 4096}"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as writer,
        subprocess.Popen([sys.executable, "-I", "-S", "-c", COPY], stdin=writer.stdout, cwd=place) as reader,
    ):
        _pid, _status, used = os.wait4(reader.pid, 0)
        reader.returncode = 0
    return used.ru_utime + used.ru_stime


def test_rel23_a_flood_is_bounded_on_disk_and_costs_a_few_copies(place: Home, engine: Engine) -> None:
    container = writing(engine, f"yes {LINE} | head -c {FLOOD}; echo over >&2; exec sleep 1000", most="10m")
    monitor, began, most = container.state.monitor_pid, time.monotonic(), 0
    files = 0
    while not container.logs(stdout=False, tail=30_000):  # a pipe full of the flood may come after it: two pipes have no order
        sizes = [os.stat(path).st_size for path in log_files(place, container) if path.exists()]
        most, files = max(most, *sizes), max(files, len(sizes))
        assert time.monotonic() - began < 200
        time.sleep(0.02)
    took, used = time.monotonic() - began, seconds_of(monitor)
    copied = copying_s(place.root, FLOOD)
    print(f"{FLOOD / took / 1e6:.0f} MB/s; CPU of the monitor {used:.2f} s, of a process that only copies {copied:.2f} s")
    assert used < 4 * copied
    assert most <= (10 << 20) + CHUNK
    assert files == 3
    kept = b"".join(piece.data for piece in container.log_lines() if piece.stream == "stdout")  # a line may come in two pieces
    assert set(kept.split(b"\n")[1:-1]) == {LINE.encode()}


def test_rel23_one_line_of_a_hundred_megabytes(place: Home, engine: Engine) -> None:
    container = writing(engine, "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo after; exec sleep 1000", most="40m", files=3)
    until(lambda: container.logs(tail=1) == b"after\n", 100)
    status = Path(f"/proc/{container.state.monitor_pid}/status").read_text()
    assert int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) < 40_000
    first, second = container.logs().splitlines()
    assert (len(first), set(first), second) == (100_000_000, {ord("x")}, b"after")
    pieces = list(container.log_lines(tail=2))
    assert sum(len(piece.data) for piece in pieces) == 100_000_007


def test_rel23_every_byte_of_binary_output(engine: Engine, tmp_path: Path) -> None:
    data = random.Random(23).randbytes(3_000_000)
    (tmp_path / "data").write_bytes(data)
    container = writing(engine, "cat /files/data", most="10m", volumes={str(tmp_path): {"bind": "/files", "mode": "ro"}})
    assert container.wait(timeout=60)["StatusCode"] == 0
    assert container.logs() == data


def test_rel23_a_follower_that_stalls_holds_nobody_up(engine: Engine) -> None:
    container = writing(engine, "i=0; while [ $i -lt 60000 ]; do echo $i; i=$((i+1)); done", most="1m", files=3)
    stalled = container.logs(stream=True, follow=True)
    next(stalled)
    read = [int(line) for line in container.logs(stream=True, follow=True)]
    assert container.wait(timeout=60)["StatusCode"] == 0
    assert read == list(range(read[0], 60000))
    rest = [int(line) for line in stalled]  # what was rotated away meanwhile is not there any more, and what is there comes once
    assert rest == sorted(set(rest))
    assert rest[-1] == 59999


def test_rel23_a_monitor_killed_while_it_writes_and_rotates(place: Home, engine: Engine) -> None:
    script = "n=$(cat /n 2>/dev/null || echo 0); echo $((n+1)) > /n; i=0; while :; do echo life $n line $i; i=$((i+1)); done"
    container = writing(engine, script, most="20k", files=3)
    chance = random.Random(23)
    for life in range(12):
        until(lambda life=life: f"life {life} ".encode() in container.logs(), 20)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.05))
        os.kill(container.state.monitor_pid, signal.SIGKILL)
        container.reload()
        until(lambda: not _runs(container))
        for path in log_files(place, container):
            *entries, rest = path.read_bytes().split(b"\n")
            assert all(ENTRY.fullmatch(entry) for entry in entries), path
            assert rest == b"" or path.name == "container.log"
        container.start()
    seen = _seen(container)
    assert seen == sorted(set(seen))
    container.remove(force=True)


def _runs(container: Container) -> bool:
    container.reload()
    return container.status == "running"


def _seen(container: Container) -> list[tuple[int, int]]:
    found = []
    for line in container.logs().splitlines():
        matched = re.fullmatch(rb"life (\d+) line (\d+)", line)
        assert matched is not None, line
        found.append((int(matched[1]), int(matched[2])))
    return found

"""What every test shares: the proof that a test on the real kernel leaves nothing behind, and a store (what tests need: tests/needs.py)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.home import BASE, Home, new_home

pytest_plugins = ("tests.needs",)

SETTLE_S = 10
"""The kernel takes a network namespace's links away some time after the last process in it has ended."""

REAL = frozenset({"root", "user", "netns"})
TREE = Path(__file__).parents[1]


def pytest_configure() -> None:
    """Take interrupts again where the caller ignores them (a shell's background job does): tests send them to their children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare the machine before and after a real test: mounts, links, namespaces, cgroups, firewall tables, processes, descriptors."""
    if not any(request.node.get_closest_marker(mark) for mark in REAL):
        yield
        return
    before = leak_snapshot()
    yield
    left = _left(before)
    deadline = time.monotonic() + SETTLE_S
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = _left(before)
    assert not left, f"left behind: {left}"


def _left(before: Mapping[str, set[str]]) -> dict[str, list[str]]:
    after = leak_snapshot()
    return {kind: sorted(after[kind] - before[kind]) for kind in before if after[kind] - before[kind]}


def leak_snapshot() -> dict[str, set[str]]:
    """Return what a leak would add to."""
    return {
        "mounts": set(Path("/proc/self/mountinfo").read_text().splitlines()),
        "links": set(os.listdir("/sys/class/net")),
        "named network namespaces": set(os.listdir("/run/netns")) if Path("/run/netns").is_dir() else set(),
        "cgroups": _cgroups(),
        "firewall tables": _tables(),
        "processes": _processes(),
        "shared memory": set(os.listdir("/dev/shm")),
    }


def _cgroups() -> set[str]:
    found = set()
    for top in Path("/sys/fs/cgroup").iterdir() if Path("/sys/fs/cgroup").is_dir() else ():
        for directory, _names, _files in os.walk(top):
            if "notebook-containers" in directory:
                found.add(directory)
    return found


def _tables() -> set[str]:
    if os.geteuid() != 0 or not shutil.which("nft"):
        return set()
    done = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    return set(done.stdout.splitlines())


def _processes() -> set[str]:
    """Return our helper processes (monitors, spawners, forwarders) that are no spawner of this process or of one that it still runs."""
    found = set()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
            below_us = os.getpid() in _ancestors(int(name))
        except OSError:
            continue
        if str(TREE) in line and "notebook_containers" in line and " -I -S -E " in line and not below_us:
            found.add(f"{name} {line[:120]}")
    return found


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        yield pid


@pytest.fixture(scope="session")
def home() -> Iterator[Home]:
    """A store for the whole session, with the base image in it and the default bridge made, so that neither counts as a test's leak."""
    with new_home() as made:
        with made.open() as engine:
            engine.containers.run(BASE, ["true"], remove=True)
        yield made


@pytest.fixture
def tree_environment() -> dict[str, str]:
    """Return an environment in which a child Python finds this tree."""
    return {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(TREE), "LC_ALL": "C.UTF-8", "PYTHON": sys.executable}

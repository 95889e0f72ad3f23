"""Fixtures of the kernel tests: cgroups of their own names, removed and looked for afterwards."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from notebook_containers.linux import cgroups
from notebook_containers.linux.cgroups.protocol import Cgroup
from notebook_containers.linux.cgroups.v2 import CgroupV2
from tests.needs import need

_NUMBERS = itertools.count()


class Groups:
    """Makes cgroups of one version below a parent of this test; ``start`` runs a command in one."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.parent = f"nbc-test-{os.getpid()}-{next(_NUMBERS)}"
        self.made: list[Cgroup] = []
        self.started: list[subprocess.Popen[str]] = []

    def open(self, name: str = "one") -> Cgroup:
        """Return a group that is not made yet."""
        path = f"{self.parent}/{name}"
        if self.version == "v1" or not unified_beside_v1():
            group = cgroups.open_cgroup(path)
        else:
            group = CgroupV2(path, unified_beside_v1(), (), {})
        self.made.append(group)
        return group

    def create(self, name: str = "one") -> Cgroup:
        """Return a group that exists."""
        group = self.open(name)
        group.create()
        return group

    def start(self, group: Cgroup, *command: str) -> subprocess.Popen[str]:
        """Start a command in ``group``; its output can be read."""
        process = subprocess.Popen(
            command,
            preexec_fn=group.enter,  # noqa: PLW1509  what a container's init does: the new process moves itself
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def left(self) -> list[str]:
        """Return the directories that still exist."""
        bases = {directory.removesuffix("/" + self.parent) for group in self.made for directory in self._parents(group)}
        return [f"{base}/{self.parent}" for base in bases if os.path.exists(f"{base}/{self.parent}")]

    def close(self) -> None:
        """Kill and remove everything, and close the pipes."""
        for group in self.made:
            group.kill()
        for process in self.started:
            process.kill()
            process.communicate()
        for group in self.made:
            group.remove()

    def _parents(self, group: Cgroup) -> list[str]:
        return [directory.rpartition("/")[0] for directory in group.locations().values()]


def unified_beside_v1() -> str:
    """Return the version 2 tree of a hybrid machine: no controllers there, but processes can be frozen and killed by it."""
    with open("/proc/self/mountinfo") as lines:
        points = [line.split()[4] for line in lines if " - cgroup2 " in line]
    return points[0] if points and cgroups.detect().version == "hybrid" else ""


@pytest.fixture
def make_groups() -> Iterator[Callable[[str], Groups]]:
    """Give :class:`Groups` of a version, which must all be gone in the end."""
    made: list[Groups] = []

    def make(version: str) -> Groups:
        need(os.geteuid() == 0 and os.access("/sys/fs/cgroup", os.W_OK), "writable cgroup tree")
        found = cgroups.detect().version
        need(found in (version, "hybrid"), f"cgroup {version}")
        made.append(Groups(version))
        return made[-1]

    yield make
    for groups in made:
        groups.close()
        assert not groups.left()

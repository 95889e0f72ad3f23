"""containerd with our runtime: its shim calls our create, start, exec, pause, kill and delete, as it calls runc's."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TREE

pytestmark = [pytest.mark.root, pytest.mark.needs("containerd", "ctr", "containerd-shim-runc-v2")]

PATIENCE_S = 15


class Containerd:
    """A containerd on directories and a socket of its own, with a wrapper script as the shim's runtime."""

    def __init__(self, directory: Path, rootfs: Path) -> None:
        self.directory, self.rootfs = directory, rootfs
        self._wrapper = directory / "nbc-runtime"
        command = shlex.join([sys.executable, "-m", "notebook_containers", "runtime"])
        self._wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(TREE))} exec {command} "$@"\n')
        self._wrapper.chmod(0o755)
        config = directory / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{directory}/socket"\n[ttrpc]\naddress = "{directory}/socket.ttrpc"\n'
        )
        with open(directory / "log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(["containerd", "--config", str(config)], stdout=log, stderr=log)

    def done(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["ctr", "--address", f"{self.directory}/socket", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def __call__(self, *words: str) -> str:
        done = self.done(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *words: str, name: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        ours = ("--runc-binary", str(self._wrapper), "--runc-root", f"{self.directory}/records")
        return self.done("run", *options, "--rootfs", *ours, str(self.rootfs), name, *words)

    def status(self, name: str) -> str:
        rows = [line.split() for line in self("task", "ls").splitlines()[1:]]
        return next((row[2] for row in rows if row[0] == name), "")

    def records(self) -> list[str]:
        path = self.directory / "records/default"
        return os.listdir(path) if path.is_dir() else []


@pytest.fixture(scope="module")
def containerd(rootfs: Path) -> Iterator[Containerd]:
    directory = Path(tempfile.mkdtemp(prefix="nbc-containerd-", dir="/tmp"))  # a socket's path is short
    made = Containerd(directory, rootfs)
    try:
        until(lambda: made.done("version").returncode == 0, "containerd does not answer")
        yield made
        assert made("task", "ls").splitlines()[1:] == []
        assert made.records() == []
    finally:
        for name in (line.split()[0] for line in made.done("container", "ls").stdout.splitlines()[1:]):
            made.done("task", "rm", "--force", name)
            made.done("container", "rm", name)
        made.process.terminate()
        made.process.wait(timeout=PATIENCE_S)
        shutil.rmtree(directory, ignore_errors=True)


def until(holds: object, words: str) -> None:
    assert callable(holds)
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, words
        time.sleep(0.05)


def test_output_and_exit_status_come_through(containerd: Containerd) -> None:
    done = containerd.run("/bin/sh", "-c", "echo out; echo err >&2; id -u; exit 3", name="one", options=("--rm",))
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n0\n", "err\n")
    missing = containerd.run("/no/such", name="missing", options=("--rm",))
    assert missing.returncode != 0
    assert "/no/such" in missing.stderr


def test_a_task_is_paused_entered_signalled_and_deleted(containerd: Containerd) -> None:
    script = 'trap "exit 7" TERM; while :; do sleep 0.1; done'
    started = containerd.run("/bin/sh", "-c", script, name="two", options=("--detach", "--memory-limit", "50000000"))
    assert started.returncode == 0, started.stderr
    assert containerd.status("two") == "RUNNING"
    entered = containerd.done("task", "exec", "--exec-id", "first", "two", "/bin/sh", "-c", "echo in; exit 5")
    assert (entered.returncode, entered.stdout) == (5, "in\n")
    containerd("task", "pause", "two")
    assert containerd.status("two") == "PAUSED"
    containerd("task", "resume", "two")
    assert containerd.status("two") == "RUNNING"
    assert "memory" in containerd("task", "metrics", "two")
    assert len(containerd("task", "ps", "two").splitlines()) >= 2
    containerd("task", "kill", "--signal", "SIGTERM", "two")
    until(lambda: containerd.status("two") == "STOPPED", "the signal did not end it")
    assert containerd.done("task", "rm", "two").returncode in (0, 7)  # ctr ends with the task's own status in some versions
    containerd("container", "rm", "two")


def test_a_killed_one_is_deleted_by_force(containerd: Containerd) -> None:
    assert containerd.run("/bin/sleep", "1000", name="three", options=("--detach",)).returncode == 0
    containerd.done("task", "rm", "--force", "three")
    containerd("container", "rm", "three")
    assert containerd.records() == []

"""podman with our runtime: conmon watches, our runtime makes, starts, execs, kills and deletes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers.linux import cgroups
from tests.conftest import TREE

pytestmark = [pytest.mark.root, pytest.mark.needs("podman")]

IMAGE = "localhost/busy:1"


class Podman:
    """podman on storage of its own, with a wrapper script as runtime."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        wrapper = directory / "nbc-runtime"
        command = [sys.executable, "-m", "notebook_containers", "runtime", "--root", str(directory / "records")]
        wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(TREE))} exec {shlex.join(command)} "$@"\n')
        wrapper.chmod(0o755)
        places = {"--root": "storage", "--runroot": "run", "--tmpdir": "tmp"}
        self.words = [
            *("podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", str(wrapper)),
            *(word for option, name in places.items() for word in (option, str(directory / name))),
        ]

    def done(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.words, *words], capture_output=True, text=True, input=stdin, check=False, timeout=90)

    def __call__(self, *words: str, stdin: str = "") -> str:
        done = self.done(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *words: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        done = self.done("run", "--rm", "--network", "none", *options, IMAGE, *words)
        return done.returncode, done.stdout + done.stderr

    def records(self) -> list[str]:
        path = self.directory / "records"
        return os.listdir(path) if path.is_dir() else []


@pytest.fixture(scope="module")
def podman(rootfs: Path) -> Iterator[Podman]:
    directory = Path(tempfile.mkdtemp(prefix="nbc-podman-", dir="/tmp"))
    made = Podman(directory)
    archive = directory / "root.tar"
    subprocess.run(["tar", "-C", str(rootfs), "-cf", str(archive), "."], check=True)
    try:
        made("import", "-q", str(archive), IMAGE)
        yield made
        assert made("ps", "-aq") == ""
        assert made.records() == []
    finally:
        made.done("rm", "-af")
        shutil.rmtree(directory, ignore_errors=True)
        for place in cgroups.detect().places.values():
            for name in ("libpod_parent/conmon", "libpod_parent"):
                try:
                    os.rmdir(f"{place.directory}/{name}")
                except OSError:
                    continue  # another podman's, or not here


@pytest.fixture
def sleeper(podman: Podman) -> Iterator[str]:
    words = ("--memory", "64m", "--pids-limit", "50", "--name", "sleeper", IMAGE)
    podman("run", "-d", "--network", "none", *words, "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
    yield "sleeper"
    podman("rm", "-f", "-t", "0", "sleeper")


def test_run_returns_output_and_status(podman: Podman) -> None:
    assert podman.run("sh", "-c", "id -u; exit 5") == (5, "0\n")
    done = podman.done("run", "--rm", "-i", "--network", "none", IMAGE, "cat", stdin="typed\n")
    assert (done.returncode, done.stdout) == (0, "typed\n")
    assert podman.records() == []


@pytest.mark.parametrize(("command", "status"), [("nonexistent", 127), ("/etc", 126), ("/etc/passwd", 126)])
def test_commands_that_cannot_run_have_podmans_statuses(podman: Podman, command: str, status: int) -> None:
    assert podman.run(command)[0] == status
    assert podman.records() == []


def test_exec_stop_logs_restart_and_remove(podman: Podman, sleeper: str) -> None:
    limits = podman("exec", sleeper, "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/pids/pids.max")
    assert limits == f"{64 << 20}\n50\n"
    assert podman.done("exec", sleeper, "sh", "-c", "exit 4").returncode == 4
    assert podman.done("exec", sleeper, "nonexistent").returncode == 127
    assert podman("exec", "-u", "1000", "-w", "/tmp", "-e", "A=b", sleeper, "sh", "-c", "id -u; pwd; echo $A") == "1000\n/tmp\nb\n"
    assert "sh -c trap" in podman("top", sleeper)
    podman("stop", "-t", "5", sleeper)
    state = json.loads(podman("inspect", sleeper))[0]["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 9)
    assert podman("logs", sleeper) == "up\n"
    podman("start", sleeper)
    podman("kill", sleeper)
    assert podman("wait", sleeper) == "137\n"


def test_pause_update_and_stats(podman: Podman, sleeper: str) -> None:
    podman("pause", sleeper)
    assert json.loads(podman("inspect", sleeper))[0]["State"]["Status"] == "paused"
    podman("unpause", sleeper)
    podman("update", "--memory", "128m", sleeper)
    assert podman("exec", sleeper, "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes") == f"{128 << 20}\n"
    assert json.loads(podman("stats", "--no-stream", "--format", "json", sleeper))[0]["pids"] in ("2", "3")


def test_terminals_reach_the_user(podman: Podman, sleeper: str) -> None:
    for words in (["run", "--rm", "-it", "--network", "none", IMAGE], ["exec", "-it", sleeper]):
        command = shlex.join([*podman.words, *words, "sh", "-c", "tty; exit 3"])
        reading, writing = os.pipe()  # script ends at the end of its input, before it has shown everything
        try:
            done = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, stdin=reading, check=False)
        finally:
            os.close(reading)
            os.close(writing)
        assert "/dev/pts/" in done.stdout
        assert done.returncode == 3


@pytest.mark.parametrize(
    ("options", "script", "expected"),
    [
        (("--read-only",), "touch /x 2>&1; touch /tmp/x && echo tmp", "touch: /x: Read-only file system\ntmp\n"),
        (("--user", "1000:1000"), "id -u; id -g", "1000\n1000\n"),
        (("--sysctl", "net.ipv4.ip_forward=1"), "cat /proc/sys/net/ipv4/ip_forward", "1\n"),
        (("--ulimit", "nofile=77:77"), "ulimit -n", "77\n"),
        (("--hostname", "some-name"), "hostname", "some-name\n"),
        (("--tmpfs", "/etc:rw"), "head -n1 /etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        (("--cap-drop", "all"), "grep CapEff /proc/self/status", "CapEff:\t0000000000000000\n"),
        (("--privileged",), "test -e /dev/loop-control -o -e /dev/fuse && echo devices", "devices\n"),
        (("--pid", "host"), "test -d /proc/2 && echo host", "host\n"),
        (("--security-opt", "seccomp=unconfined"), "grep Seccomp: /proc/self/status", "Seccomp:\t0\n"),
        ((), "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status", "NoNewPrivs:\t0\nSeccomp:\t2\n"),
        (("--security-opt", "no-new-privileges"), "grep -E 'NoNewPrivs' /proc/self/status", "NoNewPrivs:\t1\n"),
        (("--device", "/dev/null:/dev/mine"), "ls -l /dev/mine | grep -o '1,   3'", "1,   3\n"),
    ],
)
def test_options_reach_the_container(podman: Podman, options: tuple[str, ...], script: str, expected: str) -> None:
    assert podman.run("sh", "-c", script, options=options) == (0, expected)


def test_volumes_and_files_are_mounted(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from outside\n")
    mounted = ("-v", f"{tmp_path}:/data", "-v", f"{tmp_path}/file:/only-file:ro")
    assert podman.run("sh", "-c", "cat /only-file; echo inside >/data/new; : >/only-file", options=mounted)[1].startswith("from outside\n")
    assert (tmp_path / "new").read_text() == "inside\n"
    assert (tmp_path / "file").read_text() == "from outside\n"


def test_a_pod_shares_its_namespaces_by_path(podman: Podman, sleeper: str) -> None:
    shared = ("--ipc", f"container:{sleeper}", "--uts", f"container:{sleeper}", "--pid", f"container:{sleeper}")
    wanted = podman("exec", sleeper, "sh", "-c", "readlink /proc/self/ns/pid; readlink /proc/self/ns/uts")
    done = podman.done(
        "run",
        "--rm",
        "--network",
        f"container:{sleeper}",
        *shared,
        IMAGE,
        "sh",
        "-c",
        "readlink /proc/self/ns/pid; readlink /proc/self/ns/uts",
    )
    assert (done.returncode, done.stdout) == (0, wanted)

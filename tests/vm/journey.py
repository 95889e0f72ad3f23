"""What root does in the virtual machine: ``nbc run`` with limits on pure cgroup v2 (collected there only, by name)."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from tests.engine.test_limits import EATER
from tests.home import BASE, Home

pytestmark = pytest.mark.root


def run(home: Home, options: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a container without network by the command line, to its end."""
    command = [sys.executable, "-m", "notebook_containers", "run", "--rm", "--network", "none", *options.split(), BASE, *words]
    return subprocess.run(command, env={**os.environ, **home.variables()}, capture_output=True, text=True, timeout=100, check=False)


def test_the_machine_is_pure_v2(home: Home) -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    assert [line.split(" - ")[1].split()[0] for line in lines if " - cgroup" in line] == ["cgroup2"]
    with home.open() as engine:
        limits = engine.info()["Limits"]
    assert limits == dict.fromkeys(("memory", "cpu", "cpuset", "pids", "io"), "enforced")


def test_run_with_limits(home: Home) -> None:
    """-m, --cpus and --pids-limit are in the files that the container itself sees as its root group's."""
    script = "cd /sys/fs/cgroup && cat memory.max memory.swap.max cpu.max pids.max cgroup.controllers; cat /proc/self/cgroup"
    done = run(home, "-m 48m --cpus 0.5 --pids-limit 33", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:4] == [str(48 << 20), "0", "50000 100000", "33"]
    assert {"memory", "cpu", "pids", "io"} <= set(lines[4].split())
    assert lines[5] == "0::/"


def test_run_over_the_memory_limit(home: Home) -> None:
    done = run(home, "-m 16m", "sh", "-c", f"exec {EATER}")
    assert done.returncode == 137


def test_rt18_devices_are_denied_by_the_group(home: Home) -> None:
    """Root with CAP_MKNOD makes the node of the disk and cannot open it; what is in /dev opens."""
    major, minor = Path("/sys/block/nvme0n1/dev").read_text().strip().split(":")
    script = f"mknod /disk b {major} {minor}; head -c1 /disk >/dev/null; head -c4 /dev/urandom | wc -c"
    done = run(home, "--cap-add MKNOD", "sh", "-c", script)
    assert done.stdout.split()[-1] == "4"
    assert "Operation not permitted" in done.stderr
    done = run(home, "--privileged", "sh", "-c", f"mknod /disk b {major} {minor}; head -c1 /disk | wc -c")
    assert done.stdout.split() == ["1"]


def test_pause_and_all_containers_below_one_group(home: Home) -> None:
    with home.open() as engine:
        container = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, stop_timeout=0)
        assert isinstance(container, Container)
        group = Path("/sys/fs/cgroup") / Path(f"/proc/{container.state.pid}/cgroup").read_text().strip().removeprefix("0::/")
        assert group.parent == Path("/sys/fs/cgroup/notebook-containers")
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        assert 0 < total - int((group.parent / "memory.max").read_text()) < total // 2 + 4096
        assert (group.parent / "cpu.weight").read_text() == "50\n"
        container.pause()
        assert "frozen 1" in (group / "cgroup.events").read_text()
        container.unpause()
        assert "frozen 0" in (group / "cgroup.events").read_text()
        container.remove(force=True)
        assert not group.exists()
        check_no_group(engine)


def test_build_run_copy_and_commit_on_a_distributions_kernel(home: Home, tmp_path: Path) -> None:
    """What is not about cgroups, once: mounts, layers and copies as this older kernel has them."""
    (tmp_path / "Dockerfile").write_text("FROM localhost/base\nCOPY word /word\nRUN cat /word > /copy && rm /word\nCMD cat /copy\n")
    (tmp_path / "word").write_text("hello\n")
    with home.open() as engine:
        engine.images.build(path=str(tmp_path), tag="journey")
        container = engine.containers.create("journey", network="none")
        container.start()
        assert container.wait(timeout=60)["StatusCode"] == 0
        assert container.logs() == b"hello\n"
        container.put_archive("/etc", archive("new", b"there"))
        assert b"there" in b"".join(container.get_archive("/etc/new")[0])
        assert ("/etc/new", "A") in [(change.path, change.kind) for change in container.diff()]
        container.commit("journey", "2")
        container.remove()
        output = engine.containers.run("journey:2", ["sh", "-c", "cat /etc/new; tty"], network="none", tty=True, remove=True)
        assert isinstance(output, bytes)
        assert output.split() == [b"there/dev/pts/0"]
        engine.images.remove("journey:2")
        engine.images.remove("journey")


def archive(name: str, data: bytes) -> bytes:
    """Return a tar of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def check_no_group(engine: Engine) -> None:
    """With the last container the parent goes too."""
    assert engine.containers.list(all=True) == []
    assert not Path("/sys/fs/cgroup/notebook-containers").exists()

"""The same as an ordinary user: everything in a user namespace, nothing needs root."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.boxes import make_root

pytestmark = [pytest.mark.root, pytest.mark.user]

NAME = f"nbcrt{os.getpid() % 100000}"
PROJECT = Path(__file__).resolve().parents[2]

SCENARIO = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {project!r})
from tests.runtime.scenario import Bench
bench = Bench(Path(sys.argv[1]), Path(sys.argv[2]))
result = bench.{method}()
bench.close()
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Make an ordinary user with a directory of its own that holds a root filesystem."""
    subprocess.run(["useradd", "--no-create-home", "--home-dir", "/nonexistent", NAME], check=True)
    path = Path(tempfile.mkdtemp(prefix="nbc-user-", dir="/tmp"))
    try:
        make_root(path / "lower")
        entry = pwd.getpwnam(NAME)
        subprocess.run(["chown", "-R", f"{entry.pw_uid}:{entry.pw_gid}", str(path)], check=True)
        yield path
    finally:
        shutil.rmtree(path)
        subprocess.run(["userdel", NAME], check=True)


def as_user(home: Path, method: str, tmp_path: Path) -> dict[str, object]:
    entry = pwd.getpwnam(NAME)
    done = subprocess.run(
        ["/usr/bin/python3", "-B", "-c", SCENARIO.format(project=str(PROJECT), method=method), str(home), str(home / "lower")],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def test_a_container_runs_and_tells(home: Path, tmp_path: Path) -> None:
    result = as_user(home, "basics", tmp_path)
    assert result["code"] == 7
    assert str(result["id"]).startswith("uid=0(root) gid=0")
    assert result["map"] == ["0", str(pwd.getpwnam(NAME).pw_uid), "1"]
    assert result["setgroups"] == "deny"
    assert str(result["dev"]).removeprefix("core ") == "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert result["written"] is True
    assert result["owner"] == pwd.getpwnam(NAME).pw_uid


def test_masks_rights_and_namespaces(home: Path, tmp_path: Path) -> None:
    result = as_user(home, "posture", tmp_path)
    assert result["same_namespaces"] == []
    assert result["core_pattern"] == "refused"
    assert result["masked"] == "0"
    assert result["caps"] == ["0000000000000000", "00000000800405fb", "00000000800405fb", "00000000800405fb", "0000000000000000"]
    assert result["mknod"] == "refused"
    assert result["interpreter"] in ("Operation not permitted", "Text file busy")  # a sealed copy in memory, and it runs


def test_exec_terminal_and_signals(home: Path, tmp_path: Path) -> None:
    result = as_user(home, "sessions", tmp_path)
    assert result == {"exec": [4, "inside\n"], "terminal": True, "killed": 137, "lost": 137}


def test_restart_keeps_the_network(home: Path, tmp_path: Path) -> None:
    result = as_user(home, "restart", tmp_path)
    assert result == {"code": 3, "count": 1, "same_network": True}


def test_nothing_is_left(home: Path, tmp_path: Path) -> None:
    assert subprocess.run(["ps", "-o", "pid=,stat=,args=", "-u", NAME], capture_output=True, check=False).stdout == b""

"""The same as an ordinary user: no privilege anywhere, everything in the container's own user namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

UID = 61235


@pytest.fixture
def own_directory() -> Iterator[Path]:
    """A directory of the user, on a path that it may walk."""
    path = Path(tempfile.mkdtemp(prefix="nbcu-", dir="/tmp"))
    os.chown(path, UID, UID)
    yield path
    shutil.rmtree(path)


@pytest.mark.user
def test_files_as_an_ordinary_user(own_directory: Path) -> None:
    tree = Path(__file__).parents[2]
    packages = Path(click.__file__).parents[1]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(own_directory), "PYTHONPATH": f"{tree}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["/usr/bin/python3", str(Path(__file__).parent / "user_files.py"), str(own_directory)]
    done = subprocess.run(
        command, env=environment, cwd="/", user=UID, group=UID, extra_groups=[], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    so_far: list[str] = []
    for state in ("created", "running", "exited"):
        so_far = sorted([*so_far, state])
        assert found[state]["data"] == [f"data/{name}" for name in so_far]
        assert set(found[state]["tmp"]) == {"tmp/local", *(f"tmp/{n}" for n in so_far), *(f"tmp/closed-{n}/f" for n in so_far)}
        assert found[state]["mine"]
        assert found[state]["exported"]
        assert set(found[state]["out"]) == {"local", *so_far, *(f"closed-{n}" for n in so_far)}
    assert found["committed"] == "b'running'"
    assert found["loaded"] is True
    assert found["usage"]["pids"] == 1
    assert found["usage"]["mem_usage"] > 0
    assert found["top"][0] == "UID"

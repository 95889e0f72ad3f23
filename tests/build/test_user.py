"""The builder as an ordinary user: own user name space, no privilege anywhere."""

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

UID = 61234


@pytest.fixture
def own_directory() -> Iterator[Path]:
    """A directory of the user, on a path that it may walk."""
    path = Path(tempfile.mkdtemp(prefix="nbc-user-", dir="/tmp"))
    os.chown(path, UID, UID)
    yield path
    shutil.rmtree(path)


@pytest.mark.user
def test_build_as_an_ordinary_user(own_directory: Path) -> None:
    tree = Path(__file__).parents[2]
    packages = Path(click.__file__).parents[1]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(own_directory), "PYTHONPATH": f"{tree}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["/usr/bin/python3", str(Path(__file__).parent / "user_build.py"), str(own_directory)]
    done = subprocess.run(
        command, env=environment, cwd="/", user=UID, group=UID, extra_groups=[], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["files"] == {"who": "0\n", "note": "hello\n"}
    assert result["ids"][0] == result["ids"][1]
    assert set(result["statuses"]) == {"cached", "metadata"}
    assert result["snapshots"] == []
    assert result["failed"] == "RUN exit 3 (line 2) ended with exit code 3"

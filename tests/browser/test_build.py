"""What is committed as built is what the sources build."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.conftest import BUILT, SOURCE

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def tree(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def test_the_committed_build_is_that_of_the_sources(frontend: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["npm", "run", "build"], cwd=frontend, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built, committed = tree(frontend.parent / "notebook_containers" / "labextension"), tree(BUILT)
    assert sorted(built) == sorted(committed), "run: cd labextension && npm run build"
    assert [name for name in built if built[name] != committed[name]] == [], "run: cd labextension && npm run build"


def test_no_place_of_one_machine_is_inside() -> None:
    for name, data in {**tree(BUILT), "package-lock.json": (SOURCE / "package-lock.json").read_bytes()}.items():
        assert not re.search(rb"/(?:home|tmp|root|Users)/|\"resolved\"|registry\.", data), name
    assert sum(map(len, tree(BUILT).values())) < 150_000

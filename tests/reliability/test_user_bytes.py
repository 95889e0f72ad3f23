"""REL-30: nothing but the removal of a volume itself deletes a byte that a user put in it, or in a directory that was mounted."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers.engine.container import Container
from tests.home import BASE, Home, new_home

pytestmark = pytest.mark.root
TREE = Path(__file__).parents[2]
COMPOSE = """
services:
  db:
    image: localhost/base
    command: sleep 1000
    network_mode: none
    stop_grace_period: 0s
    volumes: [data:/d, "{bind}:/b"]
volumes:
  data:
"""


@pytest.fixture
def own_home(no_leaks: None) -> Iterator[Home]:
    with new_home() as made:
        yield made


def nbc(home: Home, *words: str, cwd: Path | None = None) -> str:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), **home.variables()}
    argv = [sys.executable, "-m", "notebook_containers", *words]
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Canary:
    """Files in a directory of the host and in a named volume, and their digests."""

    def __init__(self, home: Home, bind: Path, volume: str) -> None:
        self.places = [bind, home.root / "volumes" / volume / "_data"]
        self._before = [self._digest(place) for place in self.places]

    @staticmethod
    def _digest(place: Path) -> str:
        paths = sorted(path for path in place.rglob("*") if path.is_file())
        assert len(paths) == 3, paths
        return hashlib.sha256(b"".join(str(path.relative_to(place)).encode() + path.read_bytes() for path in paths)).hexdigest()

    def check(self, what: str) -> None:
        for place, before in zip(self.places, self._before, strict=True):
            assert self._digest(place) == before, f"{what} touched {place}"


def start(home: Home, bind: Path, volume: str = "data") -> Container:
    """Start a container that has both and has written three files in each."""
    script = (
        "for d in /d /b; do mkdir -p $d/deep/er; for f in a deep/b deep/er/c; do head -c 10000 /dev/urandom > $d/$f; done; done; echo made"
    )
    with home.open() as engine:
        engine.containers.run(BASE, ["sh", "-c", script], network="none", remove=True, volumes=[f"{volume}:/d", f"{bind}:/b"])
        mounted = [f"{volume}:/d", f"{bind}:/b", "/anonymous"]
        box = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, name="box", stop_timeout=0, volumes=mounted)
        assert isinstance(box, Container)
        return box


def test_rel30_kill_rm_prune_and_reset_keep_every_byte(own_home: Home, tmp_path: Path) -> None:
    bind = tmp_path / "mine"
    bind.mkdir()
    box = start(own_home, bind)
    canary = Canary(own_home, bind, "data")
    os.kill(box.state.monitor_pid, signal.SIGKILL)
    with own_home.open() as engine:
        engine.recover()
    canary.check("the kill of a monitor, and recover")
    nbc(own_home, "rm", "-f", "-v", "box")
    canary.check("rm -f -v")
    start_again = ["run", "-d", "--network", "none", "--stop-timeout", "0", "--name", "box", "-v", "data:/d", "-v", f"{bind}:/b", BASE]
    nbc(own_home, *start_again, "sleep", "1000")
    for verb in (["kill", "box"], ["container", "prune", "-f"], ["volume", "prune", "-f"], ["system", "prune", "-a", "-f", "--volumes"]):
        nbc(own_home, *verb)
        canary.check(" ".join(verb))
    nbc(own_home, *start_again, "sleep", "1000")
    for verb in (["rm", "-f", "box"], ["system", "check", "--repair", "--force"], ["image", "prune", "-a", "-f"]):
        nbc(own_home, *verb)
        canary.check(" ".join(verb))
    nbc(own_home, *start_again, "sleep", "1000")
    nbc(own_home, "system", "reset", "--force")
    canary.check("system reset with the container running")
    assert "data" in nbc(own_home, "volume", "ls", "-q").split()
    assert len((own_home.root / "volumes/data/_data/a").read_bytes()) == 10000
    nbc(own_home, "volume", "rm", "data")
    assert not canary.places[1].exists()
    assert Canary._digest(bind)


def test_rel30_a_project_keeps_its_bytes_until_its_volumes_are_removed(own_home: Home, tmp_path: Path) -> None:
    bind = tmp_path / "mine"
    bind.mkdir()
    (tmp_path / "compose.yaml").write_text(COMPOSE.format(bind=bind))
    nbc(own_home, "compose", "-p", "proj", "up", "-d", cwd=tmp_path)  # it makes the volume: another's of that name would never go
    start(own_home, bind, "proj_data")
    nbc(own_home, "rm", "-f", "-v", "box")
    canary = Canary(own_home, bind, "proj_data")
    for verb in (["up", "-d"], ["down"], ["up", "-d"]):
        nbc(own_home, "compose", "-p", "proj", *verb, cwd=tmp_path)
        canary.check(f"compose {' '.join(verb)}")
    nbc(own_home, "volume", "create", "proj_other")
    nbc(own_home, "compose", "-p", "proj", "down", "-v", cwd=tmp_path)
    assert nbc(own_home, "volume", "ls", "-q").split() == ["proj_other"]
    assert Canary._digest(bind)


def test_rel30_a_lost_database_costs_no_byte_of_a_volume(own_home: Home, tmp_path: Path) -> None:
    """Neither the reset, nor the making of a volume whose name has files that no row names any more."""
    bind = tmp_path / "mine"
    bind.mkdir()
    start(own_home, bind)
    nbc(own_home, "rm", "-f", "-v", "box")
    canary = Canary(own_home, bind, "data")
    for path in own_home.root.glob("nbc.db*"):
        path.unlink()
    nbc(own_home, "volume", "create", "data")
    canary.check("volume create")
    nbc(own_home, "run", "--rm", "--network", "none", "-v", "data:/etc/skel", BASE, "true")
    canary.check("first use")
    with open(own_home.root / "nbc.db", "r+b") as file:
        file.write(b"\xff" * 4096)
    nbc(own_home, "system", "reset", "--force")
    canary.check("reset of a damaged store")
    assert nbc(own_home, "volume", "ls", "-q") == "data\n"

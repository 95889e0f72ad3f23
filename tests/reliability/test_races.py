"""REL-09, REL-10: processes that pull, load, build, run, tag, remove and prune the same images at once; some are killed in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from notebook_containers.store.collect import collect
from tests.home import BASE, Home, findings, new_home
from tests.reliability.image_operations import KEPT, SAYS, Scene, prepare
from tests.reliability.victims import dice

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

TREE = Path(__file__).parents[2]
SECONDS = float(os.environ.get("NBC_RACE", "8"))
PROCESSES = 6

# an image that another process has just removed may be missing by its name, and one in use is not removed: that is no failure; a blob or
# a layer that is missing is
RACER = """
import random, sys, time
from pathlib import Path
from notebook_containers import Engine
from notebook_containers.errors import Conflict, ImageNotFound
from tests.reliability.image_operations import OPERATIONS, Scene
scene = Scene(scratch=Path(sys.argv[1]), registry=sys.argv[2])
chance, until, done = random.Random(sys.argv[3]), time.monotonic() + float(sys.argv[4]), 0
names = ["load", "import", "tag", "rmi", "prune", "build", "pull", "run", "again", "all"]
with Engine() as engine:
    while time.monotonic() < until:
        name = chance.choice(names)
        try:
            if name == "run":
                box = engine.containers.create(chance.choice(["made", "loads", f"{scene.registry}/swept:1"]), network="none")
                box.start()
                assert (box.wait()["StatusCode"], box.logs()) == (0, b"ok\\n")
                box.remove()
            elif name == "again":
                engine.images.remove(f"{scene.registry}/swept:1")
            elif name == "all":
                engine.images.prune({"dangling": False, "label!": "kept"})
            else:
                OPERATIONS[name].run(engine, scene)
        except (Conflict, ImageNotFound):
            pass
        done += 1
print(done)
"""


def test_rel10_what_began_legally_finds_what_it_needs(registry: str, tmp_path: Path) -> None:
    chance = dice("race")
    with new_home() as home:
        scene = Scene(scratch=tmp_path, registry=registry)
        with home.open() as engine:
            prepare(engine, scene)
        racers = [racer(home, scene, f"{chance.random()}") for _ in range(PROCESSES)]
        victims = [racer(home, scene, f"{chance.random()}") for _ in range(2)]
        for victim in victims:  # killed somewhere in the middle, and nobody waits for its locks
            time.sleep(chance.uniform(0.3, 0.4) * SECONDS)
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
        ended = [(*process.communicate(timeout=SECONDS + 60), process.returncode) for process in racers]
        assert [code for _, _, code in ended] == [0] * PROCESSES, "\n".join(error[-2000:] for _, error, _ in ended if error)
        print("operations:", [int(output) for output, _, _ in ended])
        with home.open() as engine:
            assert [str(finding) for finding in engine.check().findings if not finding.garbage] == []
            engine.images.pull(f"{registry}/swept:1")
            assert engine.containers.run(f"{registry}/swept:1", network="none", remove=True) == SAYS
            for container in engine.containers.list(all=True):
                container.remove(force=True)
            engine.images.prune(all=True)
            engine._parts.store.disk.settle()
            assert findings(engine) == []
            assert engine.images.list() == []


def racer(home: Home, scene: Scene, seed: str) -> subprocess.Popen[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), "HOME": "/nonexistent", **home.variables()}
    argv = [sys.executable, "-c", RACER, str(scene.scratch), scene.registry, seed, str(SECONDS)]
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_rel09_many_pull_one_image(registry: str, tmp_path: Path) -> None:
    """Each layer is once on the disk, and everybody has the image, though one of them is killed."""
    code = "import sys\nfrom notebook_containers import Engine\nwith Engine() as engine:\n    print(engine.images.pull(sys.argv[1]).id)"
    with new_home() as home:
        scene = Scene(scratch=tmp_path, registry=registry)
        with home.open() as engine:
            prepare(engine, scene)
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), "HOME": "/nonexistent", **home.variables()}
        argv = [sys.executable, "-c", code, f"{registry}/swept:1"]
        pulls = [subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
        time.sleep(0.5)
        pulls[0].kill()
        ended = [(*process.communicate(timeout=60), process.returncode) for process in pulls]
        assert [code for _, _, code in ended[1:]] == [0] * 7, "\n".join(error[-1000:] for _, error, _ in ended)
        assert len({output for output, _, code in ended if code == 0}) == 1
        with home.open() as engine:
            assert findings(engine) == []
            assert len(engine._parts.store.layers.list()) == 2  # the kept image's and the pulled one's
            assert engine.images.find(KEPT).tags


HOLDS = """
import os, time
from notebook_containers import Engine
with Engine() as engine, engine._parts.store.lease():
    box = engine.containers.run("localhost/base", ["sleep", "1000"], network="none", detach=True, name="left")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_owner_holds_nothing_though_its_container_lives_on() -> None:
    """Leases are locks of open files that nobody inherits: the kernel gives them back with their owner, at once."""
    with new_home() as home, home.open() as engine:
        engine.images.get(BASE)
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), "HOME": "/nonexistent", **home.variables()}
        owner = subprocess.Popen([sys.executable, "-c", HOLDS], env=env, stdout=subprocess.PIPE, text=True)
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        held = collect(engine._parts.store, wait_s=0.02)
        assert (held.held, owner.pid in held.held_by) == (True, True)
        owner.kill()
        owner.communicate()
        assert not collect(engine._parts.store, wait_s=0.5).held
        assert engine.containers.get("left").status == "running"
        engine.containers.get("left").remove(force=True)

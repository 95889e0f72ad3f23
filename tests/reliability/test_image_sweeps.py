"""REL-01, REL-03, P1, P2: what is done to images, killed at random moments 200 times, and cut off from power at 50 moments.

After each: the check finds no damage, the list is old or new and never a third, what returned is there, an image runs, the operation can
be done again, and after a collection the check is clean. ``NBC_SWEEP=1000`` and ``NBC_CUTS=200`` for more; a failure prints the seed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import pytest

from notebook_containers import Engine
from notebook_containers.linux import syscalls
from notebook_containers.runtime.starter import Starter
from notebook_containers.store.check import check
from tests.home import Home, new_home
from tests.reliability.disks import copy, copy_during, copy_quiet, make_ext4, mounted
from tests.reliability.image_operations import KEPT, OPERATIONS, SAYS, Operation, Scene, prepare
from tests.reliability.victims import dice
from tests.reliability.warm import Outcome, Warm

pytestmark = [pytest.mark.root, pytest.mark.timeout(1200)]

KILLS = int(os.environ.get("NBC_SWEEP") or 200)
CUTS = int(os.environ.get("NBC_CUTS") or 50)
CUTS_OF_ONE_RUN = 10
RUN_EVERY = 10
"""How often the image is run for real: it costs more than all the rest, and the check compares every file of every layer each time."""


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with Warm() as process:
        yield process


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    made = Starter()
    made.warm()
    yield made
    made.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A store with what every operation needs, and those that do them."""

    home: Home
    scene: Scene
    warm: Warm
    starter: Starter

    @contextmanager
    def open(self) -> Iterator[Engine]:
        """An engine on the store, with the spawner that runs already."""
        with Engine(root=self.home.root, run=self.home.run, starter=self.starter) as engine:
            yield engine


@pytest.fixture(scope="module")
def stage(registry: str, warm: Warm, starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    scene = Scene(scratch=tmp_path_factory.mktemp("scratch"), registry=registry)
    with new_home() as home:
        with home.open() as engine:
            prepare(engine, scene)
        yield Stage(home=home, scene=scene, warm=warm, starter=starter)


@pytest.mark.parametrize("name", OPERATIONS)
def test_rel01_images_survive_a_kill_at_any_moment(stage: Stage, name: str) -> None:
    operation, chance = OPERATIONS[name], dice(f"kill-{name}")
    with stage.open() as engine:
        whole = [once(engine, operation, name, replace(stage, scene=replace(stage.scene, number=n)), None).seconds for n in range(3)]
        killed = 0
        for number in range(3, 3 + KILLS):
            now = replace(stage, scene=replace(stage.scene, number=number))
            outcome = once(engine, operation, name, now, chance.uniform(0, median(whole[-5:]) * 1.1))
            killed += outcome.code != 0
            whole += [outcome.seconds] if outcome.code == 0 else []  # the machine may be busier or freer than it was
        print(f"{name}: {killed} of {KILLS} killed before they returned, {median(whole) * 1000:.1f} ms whole")
        assert killed > KILLS // 5 or KILLS < 50, "the moments are not within the operation"


def once(engine: Engine, operation: Operation, name: str, stage: Stage, after_s: float | None) -> Outcome:
    operation.before(engine, stage.scene)
    pid = stage.warm.begin(name, stage.home, stage.scene)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(pid, 9)
    outcome = stage.warm.end()
    assert outcome.code == 0 or (after_s is not None and outcome.code == -9), f"{after_s} {outcome}"
    judge(engine, operation, stage.scene, returned=outcome.code == 0, run=stage.scene.number % RUN_EVERY == 0)
    return outcome


def judge(engine: Engine, operation: Operation, scene: Scene, *, returned: bool, run: bool) -> None:
    """Hold the store to what a death may leave of it, do the operation again, and clean up."""
    assert damage(engine) == []
    listed = {name for image in engine.images.list() for name in image.tags}
    assert f"{KEPT}:latest" in listed
    happened = operation.happened(engine, scene)
    assert happened or not returned, "what had returned is gone"
    if run:
        runs(engine, KEPT)
    operation.repeat(engine, scene)
    assert operation.happened(engine, scene)
    if run and not operation.takes and operation.name(scene) in {n.removesuffix(":latest") for i in engine.images.list() for n in i.tags}:
        runs(engine, operation.name(scene))
    tidy(engine)
    assert [str(finding) for finding in check(engine._parts.store)] == []


def damage(engine: Engine) -> list[str]:
    return [str(finding) for finding in check(engine._parts.store) if not finding.garbage]


def runs(engine: Engine, name: str) -> None:
    assert engine.containers.run(name, network="none", remove=True) == SAYS


def tidy(engine: Engine) -> None:
    """Take away everything but the image that is kept."""
    engine.containers.prune()
    for image in engine.images.list():
        if f"{KEPT}:latest" not in image.tags:
            engine.images.remove(image.id, force=True)
        for name in image.tags:
            if f"{KEPT}:latest" in image.tags and name != f"{KEPT}:latest":
                engine.images.remove(name)
    engine.images.prune()
    engine._parts.store.disk.settle()


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in memory, so that a disk's writes cost nothing and are in its file at once."""
    point = tmp_path_factory.mktemp("memory")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "nbc-test", str(point)], check=True)
    yield point
    # a mount name space that some process made meanwhile may hold a disk's file a little longer
    subprocess.run(["umount", "--lazy", str(point)], check=True)


@pytest.fixture(scope="module")
def template(memory: Path, stage: Stage) -> Path:
    """A disk with the store as it is before any operation."""
    file, point = memory / "template.img", memory / "point"
    point.mkdir()
    make_ext4(file)
    with mounted(file, point):
        shutil.copytree(stage.home.root, point / "root", symlinks=True, dirs_exist_ok=True)
    return file


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A disk as a power cut would leave it, and whether the operation had returned by then."""

    disk: Path
    returned: bool


@pytest.mark.parametrize("name", OPERATIONS)
def test_rel03_images_survive_a_power_cut_at_any_moment(stage: Stage, template: Path, memory: Path, name: str) -> None:
    """Each cut is followed by a second one, right after the recovery."""
    operation, chance, point = OPERATIONS[name], dice(f"cut-{name}"), memory / "point"
    there = replace(stage, home=Home(top=point))
    before = 0
    whole_s = one_run(there, template, name, [])[0].seconds
    for run in range(CUTS // CUTS_OF_ONE_RUN):
        now = replace(there, scene=replace(stage.scene, number=10_000 + run))
        moments = sorted(chance.uniform(0, whole_s * 1.05) for _ in range(CUTS_OF_ONE_RUN - 1))
        _, cuts = one_run(now, template, name, moments)
        before += sum(not cut.returned for cut in cuts)
        for number, cut in enumerate(cuts):
            again = cut.disk.with_name("again.img")
            with mounted(cut.disk, point) as device:
                with now.open() as engine:
                    judge(engine, operation, now.scene, returned=cut.returned, run=number in (0, len(cuts) - 1))
                copy_quiet(cut.disk, again, device)
            with mounted(again, point), now.open() as engine:
                assert damage(engine) == []
                assert [image.tags for image in engine.images.list()] == [(f"{KEPT}:latest",)]
    print(f"{name}: {before} of {CUTS} cut before they returned, {whole_s * 1000:.1f} ms whole; as many second cuts")
    assert before > CUTS // 5, "the moments are not within the operation"


def test_rel03_the_check_sees_what_is_not_synced(stage: Stage, template: Path, memory: Path) -> None:
    """The proof that these disks lose what they must: without any fsync, what returned is damaged or gone."""
    there = replace(stage, home=Home(top=memory / "point"))
    _, cuts = one_run(there, template, "import", [], synced=False)
    with mounted(cuts[-1].disk, memory / "point"), there.open() as engine:
        assert damage(engine)


def one_run(stage: Stage, template: Path, name: str, moments: Sequence[float], *, synced: bool = True) -> tuple[Outcome, list[Cut]]:
    """Do the operation once on a copy of ``template``; cut at these moments (seconds) and right after it returned."""
    disk, point, cuts = template.with_name("disk.img"), stage.home.top, []
    copy(template, disk)
    with mounted(disk, point) as device:
        with stage.open() as engine:
            OPERATIONS[name].before(engine, stage.scene)
        sync(point)
        pid = stage.warm.begin(name, stage.home, stage.scene, synced=synced)
        began = time.monotonic()
        for number, moment in enumerate(moments):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            stopped = time.monotonic()
            cuts.append(Cut(disk=disk.with_name(f"cut{number}.img"), returned=_ended(pid)))
            copy_during(disk, cuts[-1].disk, device, pid)
            began += time.monotonic() - stopped
        outcome = stage.warm.end()
        assert outcome.code == 0
        cuts.append(Cut(disk=disk.with_name("cut-after.img"), returned=True))
        copy_quiet(disk, cuts[-1].disk, device)
    return outcome, cuts


def _ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def sync(point: Path) -> None:
    fd = os.open(point, os.O_RDONLY)
    try:
        syscalls.syncfs(fd)
    finally:
        os.close(fd)

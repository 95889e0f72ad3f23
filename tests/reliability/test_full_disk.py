"""REL-06: no bytes left, or no inodes: the error names the store and what is missing, what is there works on, rm and prune work."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import DiskFull, ImageNotFound
from tests.home import clear, findings, new_home
from tests.reliability.disks import make_ext4, mounted
from tests.reliability.image_operations import KEPT, SAYS, archive

pytestmark = pytest.mark.root

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """A store alone on a small disk, and what that has few of: bytes or inodes."""

    root: Path
    run: Path
    what: str

    def open(self) -> Engine:
        return Engine(root=self.root, run=self.run)


@pytest.fixture(params=["bytes", "inodes"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Small]:
    """A store on an ext4 of 24 MiB, or on one with few inodes, with an image in it."""
    point = tmp_path / "disk"
    point.mkdir()
    make_ext4(tmp_path / "disk.img", inodes=2600 if request.param == "inodes" else 0)
    with new_home() as places, mounted(tmp_path / "disk.img", point):
        place = Small(root=point / "root", run=places.run, what=request.param)
        with place.open() as engine:
            engine.images.import_image(archive(b"kept"), KEPT, changes=['CMD ["/hello"]'])
        yield place
        with place.open() as engine:
            clear(engine)
            engine._parts.store.disk.settle()


def use_up(point: Path, *, what: str, but_bytes: int = 0) -> None:
    """Take all that is left, except so many bytes."""
    filler = point / "filler"
    filler.mkdir(exist_ok=True)
    number = 0
    try:
        while what == "inodes":
            number += 1
            (filler / f"n{number}").touch()
        with open(filler / "bytes", "ab", buffering=0) as file:
            while True:
                file.write(bytes(65536))
                os.fsync(file.fileno())
    except OSError:
        if but_bytes:
            os.truncate(filler / "bytes", max(0, (filler / "bytes").stat().st_size - but_bytes))
    space = os.statvfs(point)
    assert (space.f_favail if what == "inodes" else space.f_bavail * space.f_frsize - but_bytes) < 70_000


def many_files() -> bytes:
    return archive(*(b"%d" % number for number in range(300)))


OPERATIONS: dict[str, Callable[[Engine, bytes], object]] = {
    "import": lambda engine, data: engine.images.import_image(data, "more"),
    "load": lambda engine, data: engine.images.load(data),
    "commit": lambda engine, data: engine.containers.get("worked").commit("more"),
    "build": lambda engine, data: engine.images.build(text=f"FROM {KEPT}\nCOPY <<EOF /big\n{'x' * 3 * MIB}\nEOF\n", tag="more"),
}


def test_rel06_a_full_disk_is_named_and_gives_its_bytes_back(small: Small) -> None:
    root, what = small.root, small.what
    data = many_files() if what == "inodes" else archive(os.urandom(4 * MIB))
    with small.open() as engine:
        engine.images.import_image(data, "loaded")
        loadable = b"".join(engine.images.save(["loaded"]))
        engine.images.remove("loaded")
        box = engine.containers.create(KEPT, name="worked", network="none", volumes=["data:/data"])
        assert isinstance(box, Container)
        box.put_archive("/", data)
        use_up(root.parent, what=what, but_bytes=0 if what == "inodes" else 2 * MIB)
        before = os.statvfs(root)
        for name, operate in OPERATIONS.items():
            if what == "inodes" and name in ("commit", "build"):
                continue  # they need few
            with pytest.raises(DiskFull) as caught:
                operate(engine, loadable if name == "load" else data)
            line = caught.value.one_line()
            assert "prune" in line
            if "changed files have" not in line:
                assert re.search(rf"no space left for {root}: (all \d+ inodes|\d+ of \d+ bytes are free)", line), line
            assert [name for name in os.listdir(engine._parts.store.disk.staging) if not name.endswith(".lock")] == []
            with pytest.raises(ImageNotFound):
                engine.images.find("more")
            engine.images.prune()
            after = os.statvfs(root)
            assert after.f_bavail >= before.f_bavail - 64, name
            assert after.f_favail >= before.f_favail - 4, name  # a lock file or two
        assert engine.check().clean


def test_rel06_rm_rmi_and_prune_work_with_nothing_left(small: Small) -> None:
    with small.open() as engine:
        engine.images.import_image(archive(os.urandom(MIB)), "more", changes=['CMD ["/hello"]'])
        engine.images.import_image(archive(os.urandom(MIB // 2)), "third")
        running = engine.containers.run("more", ["/hello"], name="ran", network="none", detach=True)
        assert isinstance(running, Container)
        running.wait()
        engine.containers.create(KEPT, name="idle", network="none", volumes=["data:/data"])
        use_up(small.root.parent, what=small.what)
    with small.open() as engine:  # opening needs nothing either
        engine.containers.get("ran").remove()
        engine.images.remove("third")
        engine.containers.prune()
        engine.volumes.remove("data")
        assert engine.images.prune(all=True)["ImagesDeleted"]
        engine._parts.store.disk.settle()
        assert (engine.containers.list(all=True), engine.images.list(), engine.volumes.list()) == ([], [], [])
        assert findings(engine) == []
        engine.images.import_image(archive(b"again"), KEPT, changes=['CMD ["/hello"]'])
        assert engine.containers.run(KEPT, network="none", remove=True) == SAYS

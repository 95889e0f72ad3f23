from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_containers.errors import StoreError
from notebook_containers.oci.image import Descriptor
from notebook_containers.oci.reference import Reference
from notebook_containers.store.check import check
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.repair import Repair, repair
from notebook_containers.store.store import Store
from tests.store.steps import durable_steps
from tests.store.test_check import DAMAGE, blob, rot

MakeImage = Callable[..., ImageRecord]
RunPython = Callable[..., subprocess.CompletedProcess[str]]


class Copy:
    """Another store that has the same images: what a registry is to the real one."""

    def __init__(self, store: Store, into: Store) -> None:
        self._store, self._into = store, into

    def blob(self, image: ImageRecord, blob: Descriptor) -> None:
        if not image.digests or not self._store.content.has(blob.digest):
            raise StoreError("the registry does not have it")
        with self._into.content.writer(expected=blob.digest, size=blob.size, replace=True) as writer:
            writer.write(self._store.content.read(blob.digest))

    def manifest(self, image: ImageRecord) -> None:
        data = self._store.content.read(image.manifest_digest)
        with self._into.content.writer(expected=image.manifest_digest, size=len(data), replace=True) as writer:
            writer.write(data)


@pytest.fixture
def registry(tmp_path: Path, store: Store) -> Iterator[Copy]:
    """Filled by copying the store before it is damaged: see ``pulled``."""
    with Store.open(tmp_path / "registry") as other:
        yield Copy(other, store)


@pytest.fixture
def pulled(store: Store, image: MakeImage, registry: Copy) -> ImageRecord:
    """An image that came from a registry, which still has it."""
    made = image("registry.example/a", b"1" * 1000)
    store.images.add_digest(made.id, replace(Reference.parse("registry.example/a"), digest=str(made.manifest_digest)))
    for digest, _size in store.content.list():
        registry._store.content.write(store.content.read(digest))
    return store.images.get(made.id)


def left(found: list[Repair]) -> list[str]:
    return [f"{each.finding.kind}: {each.done}" for each in found if not each.repaired]


@pytest.mark.parametrize("name", [name for name in DAMAGE if name != "snapshot-damaged"])
def test_what_can_be_had_again_is_repaired(store: Store, pulled: ImageRecord, registry: Copy, name: str) -> None:
    DAMAGE[name](store, pulled)
    done = repair(store, registry)
    assert done
    assert left(done) == []
    assert check(store) == []
    assert store.images.resolve("registry.example/a").config.rootfs.diff_ids == pulled.diff_ids


def test_a_blob_that_was_packed_here_is_packed_again(store: Store, registry: Copy) -> None:
    store.snapshots.prepare("key", [])
    upper = store.root / "snapshots" / "key" / "upper"
    (upper / "deep").mkdir(mode=0o750)
    (upper / "deep" / "file").write_bytes(b"x" * 5000)
    (upper / "deep" / "link").symlink_to("file")
    os.link(upper / "deep" / "file", upper / "hard")
    layer = store.snapshots.commit("key")
    assert layer is not None
    store.records.cache_put("k", layer.diff_id)
    assert check(store) == []
    rot(store.content.path(layer.blob.digest))
    assert [each.done for each in repair(store, registry)] == ["packed again from its files"]
    assert check(store) == []


def test_what_cannot_be_had_again_stays(store: Store, image: MakeImage, registry: Copy) -> None:
    made = image("a", b"1" * 1000)
    rot(blob(store, made))
    found = repair(store, registry)
    assert left(found) == ["blob-damaged: the registry does not have it"]
    assert store.images.resolve("a").id == made.id
    assert (store.layers.get(made.diff_ids[0]).tree / "file").read_bytes() == b"1" * 1000


def test_by_force_the_image_goes_and_no_other(store: Store, image: MakeImage, registry: Copy) -> None:
    made, other = image("a", b"1" * 1000), image("b", b"2")
    rot(blob(store, made))
    assert left(repair(store, registry, force=True)) == []
    assert check(store) == []
    assert [each.id for each in store.images.list()] == [other.id]


def test_a_layer_that_runs_is_not_touched(store: Store, pulled: ImageRecord, registry: Copy) -> None:
    tree = store.layers.get(pulled.diff_ids[0]).tree
    (tree / "file").write_bytes(b"changed")
    found = repair(store, registry, in_use=pulled.diff_ids)
    assert left(found) == ["tree-damaged: a running container has it mounted: stop that first"]
    assert (tree / "file").read_bytes() == b"changed"
    assert left(repair(store, registry)) == []
    assert (tree / "file").read_bytes() == b"1" * 1000


def test_a_volume_without_row_keeps_its_files(store: Store, registry: Copy) -> None:
    volume = store.volumes.create("v")
    (volume.path / "mine").write_bytes(b"mine")
    with store.records.transaction() as connection:
        connection.execute("DELETE FROM volumes")
    assert [finding.kind for finding in check(store) if not finding.garbage] == ["volume-unrecorded"]
    assert left(repair(store, registry)) == []
    assert (store.volumes.get("v").path / "mine").read_bytes() == b"mine"


ELSEWHERE = ("disk.retire", "disk.boot", "disk.aside", "disk.force")
KILLED = """
import os, pathlib, sys
from notebook_containers.store.repair import repair
from notebook_containers.store.store import Store
from tests.store.test_repair import Copy
with Store.open(pathlib.Path(sys.argv[1])) as store, Store.open(pathlib.Path(sys.argv[2])) as other:
    os.environ["NBC_FAILPOINTS"] = f"{sys.argv[3]}={sys.argv[4]}*off->kill9"
    repair(store, Copy(other, store))
"""


@pytest.mark.parametrize("point", ["repair.before_one", *(p for p in durable_steps() if p.startswith(("disk.", "content.", "layers.")))])
def test_a_repair_that_is_killed_is_done_again(
    store: Store, pulled: ImageRecord, registry: Copy, run_python: RunPython, point: str
) -> None:
    """Config, manifest, blob and tree are damaged at once; the repair dies at each of its steps, twice, and the third one ends it."""
    rot(store.content.path(pulled.id))
    rot(store.content.path(pulled.manifest_digest))
    rot(blob(store, pulled))
    shutil.rmtree(store.layers.get(pulled.diff_ids[0]).tree)
    codes = [run_python(KILLED, store.root, registry._store.root, point, skip).returncode for skip in (0, 2)]
    assert -9 in codes or point.startswith(ELSEWHERE), codes
    assert left(repair(store, registry)) == []
    assert check(store) == []
    assert store.images.get(pulled.id).manifest.config.digest == pulled.id

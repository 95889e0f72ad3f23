from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.store.check import check
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.store import Store

MakeImage = Callable[..., ImageRecord]
RunPython = Callable[..., subprocess.CompletedProcess[str]]
Damage = Callable[[Store, ImageRecord], object]


def rot(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def blob(store: Store, made: ImageRecord) -> Path:
    return store.content.path(store.layers.get(made.diff_ids[0]).blob.digest)


def unrecord(store: Store, made: ImageRecord) -> None:
    store.records.remove_layer(made.diff_ids[0])


def change_row(store: Store, made: ImageRecord) -> None:
    with store.records.transaction() as connection:
        connection.execute("UPDATE images SET layers = ''")


def blur(store: Store, made: ImageRecord) -> None:
    store.records.add_container(id="c1", name="web", image=made.id, document="{}")
    store.snapshots.prepare("c1", made.diff_ids)
    (store.root / "snapshots" / "c1" / "layers").write_text("")


DAMAGE: dict[str, Damage] = {
    "blob-damaged": lambda store, made: rot(blob(store, made)),
    "blob-damaged cut": lambda store, made: blob(store, made).write_bytes(b"short"),
    "blob-damaged config": lambda store, made: rot(store.content.path(made.id)),
    "blob-damaged manifest": lambda store, made: rot(store.content.path(made.manifest_digest)),
    "blob-missing": lambda store, made: blob(store, made).unlink(),
    "blob-missing config": lambda store, made: store.content.path(made.id).unlink(),
    "blob-missing manifest": lambda store, made: store.content.path(made.manifest_digest).unlink(),
    "tree-missing": lambda store, made: shutil.rmtree(store.layers.get(made.diff_ids[0]).tree),
    "layer-missing": unrecord,
    "layer-missing cache": lambda store, made: store.records.cache_put("k", made.id),
    "row-damaged": change_row,
    "snapshot-damaged": blur,
    "volume-missing": lambda store, made: shutil.rmtree(store.volumes.create("v").path.parent),
}
GARBAGE: dict[str, Damage] = {
    "blob-unreferenced": lambda store, made: store.content.write(b"unused"),
    "tree-unrecorded": lambda store, made: (store.root / "layers" / ("0" * 64)).mkdir(),
    "layer-unreferenced": lambda store, made: store.images.remove(made.id),
    "volume-unrecorded": lambda store, made: (store.root / "volumes" / "v").mkdir(),
    "leftover": lambda store, made: store.disk.staged_path().touch(),
    "leftover trash": lambda store, made: (store.disk.trash / "x").touch(),
}


def test_a_sound_store_is_clean(store: Store, image: MakeImage) -> None:
    image("a", b"1", b"2")
    store.volumes.create("v")
    assert check(store) == []


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(store: Store, image: MakeImage, name: str) -> None:
    made = image("a", b"1" * 1000)
    DAMAGE[name](store, made)
    found = check(store)
    assert name.split(maxsplit=1)[0] in {finding.kind for finding in found if not finding.garbage}, found


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_called_garbage(store: Store, image: MakeImage, name: str) -> None:
    GARBAGE[name](store, image("a", b"1" * 1000))
    found = check(store)
    assert name.split(maxsplit=1)[0] in {finding.kind for finding in found}
    assert all(finding.garbage for finding in found)


def test_a_quick_check_hashes_nothing_but_sees_sizes(store: Store, image: MakeImage) -> None:
    made = image("a", b"1" * 1000)
    rot(blob(store, made))
    assert check(store, quick=True) == []
    blob(store, made).write_bytes(b"short")
    assert {finding.kind for finding in check(store, quick=True)} == {"blob-damaged"}


def test_a_broken_database_is_found(store: Store, image: MakeImage) -> None:
    image("a", b"1")
    with open(store.records.path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    assert {finding.kind for finding in check(store)} == {"database"}


def test_a_writer_that_died_within_its_transaction_is_no_damage(store: Store, image: MakeImage, run_python: RunPython) -> None:
    image("a", b"1")
    code = """
import os, pathlib, sys
from notebook_containers.store.store import Store
store = Store.open(pathlib.Path(sys.argv[1]))
with store.records.transaction() as connection:
    connection.execute("PRAGMA cache_size=1")
    connection.executemany("INSERT INTO cache VALUES (?, NULL, 0, ?)", [(str(n), "x" * 5000) for n in range(50)])
    os.kill(os.getpid(), 9)
"""
    assert run_python(code, store.root).returncode == -9
    assert check(store) == []

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.oci.image import Digest
from notebook_containers.oci.reference import Reference
from notebook_containers.store.check import check
from notebook_containers.store.collect import collect, sizes
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.store import Store
from tests.store.steps import OTHERS, durable_steps

MakeImage = Callable[..., ImageRecord]
RunPython = Callable[..., subprocess.CompletedProcess[str]]


def layers(store: Store) -> set[Digest]:
    return {layer.diff_id for layer in store.layers.list()}


def test_two_images_share_layers_until_the_last_goes(store: Store, image: MakeImage) -> None:
    one, two = image("one", b"base", b"1"), image("two", b"base", b"2")
    assert collect(store).layers == ()
    store.images.remove(one.id)
    reclaimed = collect(store)
    assert reclaimed.layers == (one.diff_ids[1],)
    assert set(reclaimed.blobs) == {one.id, one.manifest_digest, one.diff_ids[1]}
    assert reclaimed.bytes > one.layer_sizes[1][1]
    assert layers(store) == set(two.diff_ids)
    assert check(store) == []
    store.images.remove(two.id)
    collect(store)
    assert layers(store) == set()
    assert list(store.content.list()) == []
    assert os.listdir(store.root / "layers") == []
    assert check(store) == []


def test_an_image_without_name_is_kept(store: Store, image: MakeImage) -> None:
    image("one", b"1")
    store.images.untag(Reference.parse("one"))
    assert collect(store).blobs == ()


def test_cache_rows_and_named_layers_are_kept(store: Store, image: MakeImage) -> None:
    made = image("one", b"1", b"2", b"3")
    store.images.remove(made.id)
    store.records.cache_put("step", made.diff_ids[1])
    assert set(collect(store, keep=[made.diff_ids[2]]).layers) == {made.diff_ids[0]}
    store.records.cache_prune()
    collect(store)
    assert layers(store) == set()


def test_a_snapshots_layers_are_kept(store: Store, image: MakeImage) -> None:
    made = image("one", b"1")
    store.records.add_container(id="container", name="one", image=made.id, document="{}")
    store.snapshots.prepare("container", made.diff_ids)
    store.images.remove(made.id)
    assert collect(store).layers == ()
    store.snapshots.remove("container")
    assert collect(store).layers == made.diff_ids


def test_what_no_record_names_is_freed_with_the_layers_it_held(store: Store, image: MakeImage) -> None:
    made = image("one", b"1")
    store.images.remove(made.id)
    with store.lease():  # as create does, until its record is there
        store.snapshots.prepare("killed", made.diff_ids)
        (store.root / "containers" / "killed").mkdir()
        assert collect(store, wait_s=0.02).held
    assert {finding.kind for finding in check(store) if finding.garbage} >= {"snapshot-unrecorded", "container-unrecorded"}
    assert collect(store).layers == made.diff_ids
    store.disk.settle()
    assert os.listdir(store.root / "snapshots") == os.listdir(store.root / "containers") == []
    assert check(store) == []


def test_nothing_is_freed_while_an_operation_runs(store: Store, image: MakeImage) -> None:
    made = image("one", b"1")
    store.images.remove(made.id)
    with store.lease():
        reclaimed = collect(store, wait_s=0.02)
        assert (reclaimed.held, reclaimed.held_by, reclaimed.layers) == (True, (os.getpid(),), ())
        assert layers(store) == set(made.diff_ids)
        who = f"process {os.getpid()} (this one)"
        assert reclaimed.warnings() == [f"layers were not freed yet: {who} is pulling, building or the like; prune again when it has ended"]
        with store.content.writer() as blob:
            blob.write(b"half")
            assert [each.detail for each in check(store) if each.kind == "leftover"] == [f"unfinished, of {who}, which runs"]
    assert collect(store).layers == made.diff_ids


def test_the_owner_of_a_lease_is_named_with_its_command(store: Store) -> None:
    code = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_SH); print(1, flush=True); sys.stdin.read()"
    words = [sys.executable, "-I", "-c", code, str(store.root / "lease.lock")]
    with store.lease():
        pass  # the file is there
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        (warning,) = collect(store, wait_s=0.02).warnings()
        assert f"process {owner.pid} ({Path(sys.executable).name} -I -c import fcntl" in warning
        owner.communicate()


def test_the_leavings_of_the_killed_are_freed(store: Store, run_python: RunPython) -> None:
    code = """
import os, pathlib, sys
from notebook_containers.store.store import Store
store = Store.open(pathlib.Path(sys.argv[1]))
with store.content.writer() as blob:
    blob.write(b"x" * 100000)
    os.kill(os.getpid(), 9)
"""
    assert run_python(code, store.root).returncode == -9
    assert len(list(store.disk.staging.iterdir())) == 1
    assert {finding.kind for finding in check(store)} == {"leftover"}
    collect(store)
    assert list(store.disk.staging.iterdir()) == []


def test_unique_and_shared_sizes(store: Store, image: MakeImage) -> None:
    one, two, three = image("one", b"base", b"1"), image("two", b"base", b"2" * 5000), image("three", b"3", b"3")
    size = dict(one.layer_sizes)[one.diff_ids[0]]
    assert sizes([one, two, three]) == {
        one.id: (size, size),
        two.id: (dict(two.layer_sizes)[two.diff_ids[1]], size),
        three.id: (size, 0),
    }
    assert sizes([]) == {}
    assert sizes([two])[two.id] == (two.size, 0)


OPERATIONS = """
import io, os, pathlib, sys, tarfile
from notebook_containers.oci.image import ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.store.collect import collect
from notebook_containers.store.store import Store
store = Store.open(pathlib.Path(sys.argv[1]))
os.environ["NBC_FAILPOINTS"] = f"{sys.argv[2]}={sys.argv[3]}*off->kill9"
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as tar:
    tar.addfile(tarfile.TarInfo("new"))
old = store.images.resolve("old")
store.snapshots.prepare("container", old.diff_ids)
store.snapshots.remove("container")
store.snapshots.prepare("unrecorded", old.diff_ids)
with store.lease():
    layer = store.layers.apply(io.BytesIO(buffer.getvalue()))
    store.images.put(ImageConfig(architecture="amd64", os="linux"), [layer], tags=[Reference.parse("new")])
    store.volumes.create("volume")
print("put", flush=True)
store.images.tag(old.id, Reference.parse("other"))
print("tagged", flush=True)
store.images.remove(old.id)
store.volumes.remove("volume")
print("removed", flush=True)
collect(store)
print("collected", flush=True)
"""


def test_a_kill_while_what_another_boot_left_is_retired(store: Store, image: MakeImage, run_python: RunPython) -> None:
    image("kept", b"1")
    for name in ("one", "two"):
        (store.root / "tmp" / name).mkdir()
        (store.root / "tmp" / name / "item").write_bytes(b"half")
    code = "import pathlib, sys\nfrom notebook_containers.store.store import Store\nStore.open(pathlib.Path(sys.argv[1])).close()"
    assert run_python(code, store.root, failpoints="disk.boot.before_rename=1*off->kill9").returncode == -9
    assert run_python(code, store.root).returncode == 0
    assert os.listdir(store.root / "tmp") == [store.disk.boot_id]
    collect(store)
    assert check(store) == []


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("point", [point for point in durable_steps() if not point.startswith(OTHERS)])
def test_rel_01_a_kill_at_every_failpoint(store: Store, image: MakeImage, run_python: RunPython, point: str, skip: int) -> None:
    kept, old = image("kept", b"base", b"kept"), image("old", b"base", b"old")
    done = run_python(OPERATIONS, store.root, point, skip)
    said = done.stdout.split()
    assert done.returncode == -9 or (done.returncode == 0 and "collected" in said), done.stderr
    assert skip or done.returncode == -9, f"{point} was never reached"

    def names() -> set[str]:
        return {tag for record in store.images.list() for tag in record.tags}

    assert [str(finding) for finding in check(store) if not finding.garbage] == []
    assert "put" not in said or "new:latest" in names()
    assert "tagged" not in said or "removed" in said or names() >= {"other:latest"} or old.id not in {i.id for i in store.images.list()}
    assert "removed" not in said or not names() & {"old:latest", "other:latest"}
    assert store.images.resolve("kept").config == kept.config
    with store.layers.open_tar(kept.diff_ids[1]) as tar:
        assert Digest.of(tar.read()) == kept.diff_ids[1]
    collect(store)
    assert check(store) == []


def test_a_blob_put_under_a_lease_survives_a_collection_of_another_process(store: Store, run_python: RunPython) -> None:
    code = "import pathlib, sys\nfrom notebook_containers.store.store import Store\nfrom notebook_containers.store.collect import collect\n"
    code += "print(collect(Store.open(pathlib.Path(sys.argv[1])), wait_s=0.05).held)"
    with store.lease():
        layer = store.layers.apply(io.BytesIO(b"\0" * 1024))
        assert run_python(code, store.root).stdout.strip() == "True"
        assert store.layers.has(layer.diff_id)
    assert run_python(code, store.root).stdout.strip() == "False"
    assert not store.layers.has(layer.diff_id)

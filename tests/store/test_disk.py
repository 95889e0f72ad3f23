from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from notebook_containers.errors import Corrupt, DiskFull, StoreError, Unsupported
from notebook_containers.store.store import Store

RunPython = Callable[..., subprocess.CompletedProcess[str]]


def fill(path: Path) -> None:
    """Take every last byte of the disk."""
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


def write_much(store: Store) -> None:
    with store.content.writer() as blob:
        for _ in range(40):
            blob.write(os.urandom(100_000))


def add_containers(store: Store, count: int, *, size: int) -> None:
    for number in range(count):
        store.records.add_container(id=f"id{number}", name=f"n{number}", image="i", document="x" * size)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 1 MiB."""
    point = tmp_path / "small"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", point], check=True)
    yield point
    subprocess.run(["umount", point], check=True)


@pytest.mark.root
def test_rel_06_a_really_full_disk(small_disk: Path) -> None:
    with Store.open(small_disk / "store") as store:
        kept = store.content.write(b"kept" * 1000)
        with pytest.raises(DiskFull, match=str(small_disk)):
            write_much(store)
        assert list(store.disk.staging.iterdir()) == []
        assert store.content.read(kept) == b"kept" * 1000
        fill(small_disk / "filler")
        store.volumes.list()
        store.content.remove(kept)
        assert not store.content.has(kept)


@pytest.mark.root
def test_rel_06_rows_can_be_removed_on_a_full_disk(small_disk: Path) -> None:
    with Store.open(small_disk / "store") as store:
        add_containers(store, 50, size=500)
        fill(small_disk / "filler")
        for number in range(50):
            store.records.remove_container(f"id{number}")
        assert store.records.containers() == []
        with pytest.raises(DiskFull, match=r"nbc\.db"):
            add_containers(store, 2000, size=2000)


@pytest.mark.root
def test_a_read_only_disk_says_to_set_nbc_root(small_disk: Path) -> None:
    Store.open(small_disk / "store").close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for root in (small_disk / "store", small_disk / "new"):
        with pytest.raises(StoreError, match=f"cannot write {root}") as caught:
            Store.open(root)
        assert "NBC_ROOT" in caught.value.hint


@pytest.mark.root
def test_a_directory_of_somebody_else_says_to_set_nbc_root(tmp_path: Path, run_python: RunPython) -> None:
    code = """
import os, sys
from pathlib import Path
from notebook_containers.errors import StoreError
from notebook_containers.store.disk import Disk
os.setgid(65534); os.setuid(65534)
for root in sys.argv[1:]:
    try:
        Disk.open(Path(root))
    except StoreError as err:
        print(err.one_line())
"""
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        os.chmod(parent, parent.stat().st_mode | 0o055)
    Store.open(tmp_path / "store").close()
    done = run_python(code, tmp_path / "store", tmp_path / "new")
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for line, name in zip(lines, ("store", "new"), strict=True):
        assert line.startswith(f"cannot write {tmp_path / name}: permission denied")
        assert "NBC_ROOT" in line


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(StoreError, match="file"):
            Store.open(root)


def test_a_newer_schema_is_refused_and_untouched(root: Path) -> None:
    with Store.open(root) as store, store.records.transaction() as connection:
        connection.execute("PRAGMA user_version=99")
    before = (root / "nbc.db").read_bytes()
    with pytest.raises(Unsupported, match="newer schema"):
        Store.open(root)
    assert (root / "nbc.db").read_bytes() == before


def test_a_damaged_database_is_named(root: Path) -> None:
    Store.open(root).close()
    (root / "nbc.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(Corrupt, match=r"nbc\.db is damaged"):
        Store.open(root)


def test_what_other_boots_left_is_cleared(root: Path) -> None:
    Store.open(root).close()
    for name in ("tmp/other-boot/layer-1/x", "trash/other-boot/y"):
        path = root / name
        path.mkdir(parents=True)
        (path / "file").write_text("old")
    store = Store.open(root)
    store.disk.sweep()
    store.close()
    assert [p.name for p in (root / "tmp").iterdir()] == [store.disk.boot_id]
    assert [p.name for p in (root / "trash").iterdir()] == [store.disk.boot_id]
    assert list(store.disk.trash.iterdir()) == []


def test_sweeping_spares_locks_and_the_work_of_living_processes(store: Store) -> None:
    dead = store.disk.staging / "layer-4194304-77-abc"
    dead.mkdir()
    lock = store.disk.staging / "layer-ab.lock"
    lock.touch()
    alive = store.disk.staged_path()
    alive.touch()
    store.disk.sweep_staging()
    assert sorted(store.disk.staging.iterdir()) == sorted([lock, alive])


def test_a_lease_holds_off_the_exclusive_lock_and_a_dead_owner_does_not(store: Store, run_python: RunPython) -> None:
    with store.lease(), store.lease(), store.disk.exclusive(wait_s=0) as alone:
        assert not alone
        assert os.getpid() in store.disk.lease_holders()
    done = run_python(
        "import os,sys,pathlib\nfrom notebook_containers.store.disk import Disk\n"
        "with Disk.open(pathlib.Path(sys.argv[1])).lease(): os.kill(os.getpid(), 9)",
        store.root,
    )
    assert done.returncode == -9
    with store.disk.exclusive(wait_s=0) as alone:
        assert alone
    assert store.disk.lease_holders() == ()


def test_the_lease_is_not_inherited(store: Store) -> None:
    with store.lease():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        with store.disk.exclusive(wait_s=5) as alone:
            assert alone
    finally:
        child.communicate(b"\n")


def test_what_is_discarded_goes_whole_and_through_no_symlink(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    tree = store.root / "containers" / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "link").symlink_to(outside)
    (tree / "a" / "locked").mkdir(mode=0o000)
    os.mkfifo(tree / "a" / "pipe")
    assert store.disk.discard(tree)
    assert not store.disk.discard(tree)
    assert list(store.disk.trash.iterdir()) == []
    assert (outside / "canary").read_text() == "alive"


@pytest.mark.root
def test_rel_29_nothing_is_deleted_through_a_mount(store: Store, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.mkdir()
    (users / "canary").write_text("alive")
    tree = store.root / "containers" / "abc"
    (tree / "rootfs" / "data").mkdir(parents=True)
    subprocess.run(["mount", "--bind", users, tree / "rootfs" / "data"], check=True)
    try:
        assert store.disk.discard(tree)
        assert not tree.exists()
        store.disk.sweep()
        assert (users / "canary").read_text() == "alive"
        (mounted,) = store.disk.trash.glob("*/rootfs/data")
    finally:
        subprocess.run(["umount", *store.disk.trash.glob("*/rootfs/data"), *tree.glob("rootfs/data")], check=True)
    store.disk.sweep()
    assert not mounted.exists()
    assert (users / "canary").read_text() == "alive"


def test_what_is_retired_is_gone_at_once_and_unlinked_when_the_store_is_closed(root: Path) -> None:
    store = Store.open(root)
    tree = root / "containers" / "one"
    (tree / "rootfs").mkdir(parents=True)
    (tree / "rootfs" / "file").touch()
    assert store.disk.retire(tree)
    assert not tree.exists()
    assert not store.disk.retire(tree)
    store.close()
    assert list(store.disk.trash.iterdir()) == []

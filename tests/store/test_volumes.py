from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from notebook_containers.errors import InvalidArgument, VolumeNotFound
from notebook_containers.store.check import check
from notebook_containers.store.store import Store

RunPython = Callable[..., subprocess.CompletedProcess[str]]


def test_a_volume_lives_until_it_is_removed(store: Store) -> None:
    made = store.volumes.create("data", {"a": "b"})
    (made.path / "file").write_text("precious")
    assert made.path.stat().st_mode & 0o777 == 0o755
    assert store.volumes.create("data") == made == store.volumes.get("data")
    assert made.labels == {"a": "b"}
    assert (made.path / "file").read_text() == "precious"
    assert [volume.name for volume in store.volumes.list()] == ["data"]
    store.volumes.remove("data")
    assert not made.path.exists()
    assert store.volumes.list() == []
    assert list(store.volumes.create("data").path.iterdir()) == []


def test_an_unnamed_volume_gets_a_random_name(store: Store) -> None:
    first, second = store.volumes.create(), store.volumes.create("")
    assert len(first.name) == 64
    assert first.name != second.name


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/abs", "-x", "a b", "a\n", "x" * 256, "a\0b"])
def test_a_bad_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InvalidArgument, match="no volume name"):
        store.volumes.create(name)


def test_an_unknown_volume_is_named_with_near_ones(store: Store) -> None:
    store.volumes.create("database")
    for use in (store.volumes.get, store.volumes.remove):
        with pytest.raises(VolumeNotFound, match="'databse'") as caught:
            use("databse")
        assert caught.value.hint == "did you mean database?"


CODE = """
import os, pathlib, sys
from notebook_containers.store.store import Store
store = Store.open(pathlib.Path(sys.argv[1]))
os.environ["NBC_FAILPOINTS"] = sys.argv[2] + "=kill9"
getattr(store.volumes, sys.argv[3])("data")
"""


@pytest.mark.parametrize("point", ["volumes.create.after_directory", "disk.publish.before_rename", "disk.publish.after_rename"])
def test_a_killed_creation_leaves_nothing_that_matters(store: Store, run_python: RunPython, point: str) -> None:
    assert run_python(CODE, store.root, point, "create").returncode == -9
    assert store.volumes.list() == []
    assert all(finding.garbage for finding in check(store))
    assert store.volumes.create("data").path.is_dir()


@pytest.mark.parametrize("point", ["volumes.remove.after_mark", "disk.discard.after_rename", "volumes.remove.after_discard"])
def test_a_killed_removal_is_finished_by_the_next_call(store: Store, run_python: RunPython, point: str) -> None:
    (store.volumes.create("data").path / "old").write_text("old")
    assert run_python(CODE, store.root, point, "remove").returncode == -9
    assert store.volumes.list() == []
    with pytest.raises(VolumeNotFound):
        store.volumes.get("data")
    assert "volume-deleting" in {finding.kind for finding in check(store)}
    assert list(store.volumes.create("data").path.iterdir()) == []
    store.volumes.remove("data")


def test_removing_again_finishes_a_killed_removal(store: Store, run_python: RunPython) -> None:
    store.volumes.create("data")
    assert run_python(CODE, store.root, "volumes.remove.after_mark", "remove").returncode == -9
    store.volumes.remove("data")
    assert check(store) == []

"""REL-26: stores of earlier versions are opened and keep all they hold; a copy is made first; killed migrations are done again."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from notebook_containers.errors import Unsupported
from notebook_containers.store.check import check
from notebook_containers.store.database import check_database
from notebook_containers.store.migrations import SCHEMA_VERSION, STEPS
from notebook_containers.store.store import Store
from tests.store.steps import durable_steps

RunPython = Callable[..., subprocess.CompletedProcess[str]]
FIXTURES = Path(__file__).parent / "fixtures"
OPEN = "import pathlib, sys\nfrom notebook_containers.store.store import Store\nStore.open(pathlib.Path(sys.argv[1])).close()"


def unpack(version: int, into: Path) -> Path:
    """A store as that version of this package wrote it, with an image of two names, a volume, a network and a container."""
    with tarfile.open(FIXTURES / f"store-{version}.tar.gz") as archive:
        archive.extractall(into, filter="data")
    return into / "store"


def schema(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {str(row[0]) for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def holds_all(store: Store) -> None:
    image = store.images.resolve("old")
    assert (image.tags, dict(image.labels)) == (("old:latest", "other:1"), {"a": "b"})
    assert (store.layers.get(image.diff_ids[0]).tree / "file").read_bytes() == b"old"
    assert store.volumes.get("data").path.joinpath("mine").read_bytes() == b"mine"
    assert store.records.find_container("box").image == image.id
    assert store.records.addresses("n1") == {"c1": "10.0.0.2"}
    assert store.snapshots.layers("c1") == image.diff_ids
    assert [row.key for row in store.records.cache_list()] == ["step"]


def test_there_is_a_fixture_of_every_earlier_version() -> None:
    assert sorted(STEPS) == list(range(1, SCHEMA_VERSION))
    assert sorted(path.name for path in FIXTURES.glob("store-*")) == [f"store-{version}.tar.gz" for version in STEPS]


@pytest.mark.parametrize("version", STEPS)
def test_an_earlier_store_is_opened_whole(tmp_path: Path, version: int) -> None:
    root = unpack(version, tmp_path)
    shutil.copy(root / "nbc.db", tmp_path / "before.db")
    with Store.open(root) as store:
        holds_all(store)
        assert [str(finding) for finding in check(store)] == []
    assert version_of(root / "nbc.db") == SCHEMA_VERSION
    assert (version_of(root / f"nbc.db.{version}"), schema(root / f"nbc.db.{version}")) == (version, schema(tmp_path / "before.db"))
    Store.open(tmp_path / "new").close()
    assert schema(root / "nbc.db") == schema(tmp_path / "new" / "nbc.db")


@pytest.mark.parametrize("version", STEPS)
@pytest.mark.parametrize("point", ["records.before_commit", *(point for point in durable_steps() if point.startswith("migrations."))])
def test_a_killed_migration_is_done_again(tmp_path: Path, run_python: RunPython, version: int, point: str) -> None:
    root = unpack(version, tmp_path)
    assert run_python(OPEN, root, failpoints=f"{point}=1*off->kill9" if point.endswith("commit") else f"{point}=kill9").returncode == -9
    assert check_database(root / "nbc.db") == []
    assert version_of(root / "nbc.db") in (version, SCHEMA_VERSION)
    with Store.open(root) as store:
        holds_all(store)
        assert check(store) == []
    assert version_of(root / "nbc.db") == SCHEMA_VERSION
    assert version_of(root / f"nbc.db.{version}") == version


def test_many_processes_migrate_at_once(tmp_path: Path, run_python: RunPython) -> None:
    root = unpack(1, tmp_path)
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: run_python(OPEN, root), range(6)))
    assert [each.returncode for each in done] == [0] * 6, [each.stderr[-500:] for each in done]
    with Store.open(root) as store:
        holds_all(store)


def test_the_copy_can_be_put_back(tmp_path: Path) -> None:
    root = unpack(1, tmp_path)
    Store.open(root).close()
    (root / "nbc.db").write_bytes(b"\xff" * 8192)
    (root / "nbc.db-journal").unlink(missing_ok=True)
    shutil.copy(root / "nbc.db.1", root / "nbc.db")
    with Store.open(root) as store:
        holds_all(store)


def test_a_newer_store_is_refused_and_not_touched(tmp_path: Path) -> None:
    root = unpack(1, tmp_path)
    with closing(sqlite3.connect(root / "nbc.db")) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    before = (root / "nbc.db").read_bytes()
    with pytest.raises(Unsupported, match=f"newer schema .{SCHEMA_VERSION + 1}, this version knows {SCHEMA_VERSION}") as caught:
        Store.open(root)
    assert "upgrade" in caught.value.hint
    assert (root / "nbc.db").read_bytes() == before


def test_a_process_of_the_earlier_version_goes_on(tmp_path: Path) -> None:
    """It has the file open: what it reads and writes stays where it was."""
    root = unpack(1, tmp_path)
    with closing(sqlite3.connect(root / "nbc.db", isolation_level=None)) as old:
        assert old.execute("SELECT count(*) FROM images").fetchone() == (1,)
        with Store.open(root) as store:
            old.execute("INSERT INTO cache (key, diff_id, created, document) VALUES ('late', NULL, 0, '{}')")
            assert [row.key for row in store.records.cache_list()] == ["step", "late"]
            assert old.execute("SELECT familiar FROM names ORDER BY familiar").fetchall() == [("old:latest",), ("other:1",)]

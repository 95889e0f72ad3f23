"""A user's store with lent ids keeps every owner; one without keeps working; a store knows whose its files are."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers.linux import idmaps
from notebook_containers.linux.idmaps import IdMaps, Lent
from notebook_containers.store import idmap
from notebook_containers.store.disk import Disk
from tests.people import Person, person
from tests.store.raw_tar import END, header

SCRIPT = """
import json, os, sys
from pathlib import Path
from notebook_containers.store.operations import *
from notebook_containers.store.store import Store
root = Path(os.environ["NBC_ROOT"])
with Store.open(root) as s:
    base = s.layers.apply(open(sys.argv[1], "rb"))
    told = {"warnings": base.warnings, "single": s.ids.single, "note": s.ids.note, "base": base.diff_id}
    s.snapshots.prepare("k", [base.diff_id])
    s.snapshots.edit("k", [
        WriteFile(path="/secret/deep/new", data=b"new", mode=0o600, uid=7, gid=8),
        MakeDirectory(path="/closed", mode=0o700, uid=9, gid=9),
        CopyTree(source=LayersView(layers=(base.diff_id,)), path="/secret", destination="/closed/copy"),
    ])
    told["changes"] = [f"{c.kind} {c.path}" for c in s.snapshots.changes("k")]
    told["usage"] = s.snapshots.usage("k")
    told["read"] = (s.snapshots.read_file([base.diff_id], "/secret/deep/f", max_bytes=99) or b"").decode()
    made = s.snapshots.copy("k")
    told["copy"] = made.diff_id
    told["commit"] = s.snapshots.commit("k").diff_id
    told["tar"] = str(s.content.path(made.blob.digest))
    volume = s.volumes.create("v")
    told["filled"] = s.snapshots.copy_out([base.diff_id], "/secret", volume.path)
    told["volume"] = list(os.stat(volume.path))[:6]
    s.layers.remove(made.diff_id)
    s.volumes.remove("v")
    s.layers.remove(base.diff_id)
    s.disk.settle()
    told["left"] = [p for n in ("trash", "layers", "snapshots", "volumes", "tmp") for _, d, f in os.walk(root / n) for p in f]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def wide() -> Iterator[Person]:
    with person(lent=True) as made:
        yield made


@pytest.fixture(scope="module")
def single() -> Iterator[Person]:
    with person(lent=False) as made:
        yield made


def archive(home: Path) -> Path:
    """A layer with files that only their owners may touch."""
    path = home / "base.tar"
    path.write_bytes(
        header(b"secret/", b"5", mode=b"0000700\0", uid=b"0000007\0", gid=b"0000010\0")
        + header(b"secret/deep/", b"5", mode=b"0000500\0", uid=b"0000007\0", gid=b"0000010\0")
        + header(b"secret/deep/f", data=b"hidden", mode=b"0000400\0", uid=b"0000007\0", gid=b"0000010\0")
        + header(b"far", data=b"x", uid=b"0700000\0")
        + END
    )
    path.chmod(0o644)
    return path


@pytest.mark.user
def test_owners_from_0_to_65535_are_kept_and_removable(wide: Person) -> None:
    told = wide.python(SCRIPT, archive(wide.home))
    assert isinstance(told, dict)
    assert told["single"] is False
    assert told["note"] == ""
    assert told["warnings"] == ["owners were not kept (229376:0): the ids that exist here end at 65536"]
    assert told["read"] == "hidden"
    assert told["usage"] > 0
    assert told["copy"] == told["commit"]
    assert [line for line in told["changes"] if line.startswith("A")] == [
        "A /closed",
        "A /closed/copy",
        "A /closed/copy/deep",
        "A /closed/copy/deep/f",
        "A /secret/deep/new",
    ]
    with tarfile.open(told["tar"]) as tar:
        owners = {member.name.rstrip("/"): (member.uid, member.gid, member.mode) for member in tar}
    assert owners["secret/deep/new"] == (7, 8, 0o600)
    assert owners["closed"] == (9, 9, 0o700)
    assert owners["closed/copy/deep/f"] == (7, 8, 0o400)
    assert told["filled"] is True
    assert told["left"] == []


@pytest.mark.user
def test_one_id_goes_on_working(single: Person) -> None:
    told = single.python(SCRIPT, archive(single.home))
    assert isinstance(told, dict)
    assert told["single"] is True
    assert "no ids are lent to this user" in told["note"]
    assert "an ordinary user has one id only" in told["warnings"][0]
    with tarfile.open(told["tar"]) as tar:
        assert {(member.uid, member.gid) for member in tar} == {(0, 0)}
    assert told["left"] == []


@pytest.mark.user
def test_root_and_the_user_make_the_same_layer(wide: Person, tmp_path: Path) -> None:
    data = archive(wide.home).read_bytes()
    from notebook_containers.store.store import Store

    told = wide.python(SCRIPT, wide.home / "base.tar")
    assert isinstance(told, dict)
    with Store.open(tmp_path / "root") as store:
        assert store.layers.apply(io.BytesIO(data)).diff_id == told["base"]


def opened(root: Path, monkeypatch: pytest.MonkeyPatch, lent: Lent, *, missing: str = "") -> idmap.StoreIds:
    """Settle a store's ids as an ordinary user to whom ``lent`` is lent would, without trying the map out."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    monkeypatch.setattr(idmaps, "lent_ids", lambda: lent)
    monkeypatch.setattr(idmaps, "helpers_missing", lambda: missing)
    wide = idmaps.wide_map(lent)
    monkeypatch.setattr(idmap, "best", lambda: (wide, "") if wide and not missing else (idmaps.own_map(), missing or "none lent"))
    return idmap.settle(Disk.open(root))


LENT = Lent(uids=((100000, 65536),), gids=((100000, 65536),))


def test_a_store_remembers_and_says_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    first = opened(root, monkeypatch, LENT)
    assert first.maps == IdMaps(uids=((0, 1000, 1), (1, 100000, 65536)), gids=((0, 1000, 1), (1, 100000, 65536)))
    (root / "layers" / "x").mkdir()
    assert opened(root, monkeypatch, Lent(uids=((90000, 99999),), gids=LENT.gids)).maps == first.maps
    with pytest.raises(Exception, match=r"ids that this user cannot have now .*100000-165535.*do not lend them any more") as caught:
        opened(root, monkeypatch, Lent(uids=((200000, 65536),), gids=LENT.gids))
    assert "NBC_ROOT" in str(getattr(caught.value, "hint", ""))
    with pytest.raises(Exception, match="overlap those of bob"):
        opened(root, monkeypatch, Lent(problems=("the ids 1-2 of /etc/subuid overlap those of bob (1-2)",)))
    with pytest.raises(Exception, match="newuidmap is not installed"):
        opened(root, monkeypatch, LENT, missing="newuidmap is not installed")


def test_a_store_from_before_stays_with_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    Disk.open(root)
    (root / "layers" / "x").mkdir()
    ids = opened(root, monkeypatch, LENT)
    assert ids.single
    assert "a new one (NBC_ROOT=DIRECTORY) has the ids of /etc/subuid" in ids.note


def test_an_empty_store_gets_the_ids_as_soon_as_there_are_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    assert opened(root, monkeypatch, Lent()).single
    assert not opened(root, monkeypatch, LENT).single
    assert json.loads((root / idmap.NAME).read_text())["uids"] == [[0, 1000, 1], [1, 100000, 65536]]


def test_a_damaged_map_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    opened(root, monkeypatch, LENT)
    (root / idmap.NAME).write_text("{}")
    with pytest.raises(Exception, match="is damaged"):
        opened(root, monkeypatch, LENT)

"""Rows that no restart survives: one namespace with the durable ones, no wait for the disk, gone with the boot that they belong to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.errors import Conflict, ContainerNotFound, NetworkNotFound
from notebook_containers.store.store import Store

RunPython = Callable[..., subprocess.CompletedProcess[str]]


def add(store: Store, id: str, name: str, *, volatile: bool) -> None:
    store.records.add_container(id=id, name=name, image="sha256:x", document='{"a":1}', volatile=volatile)


def choose(taken: set[str]) -> str:
    return next(address for address in ("10.0.0.2", "10.0.0.3", "10.0.0.4") if address not in taken)


def test_it_is_found_changed_and_removed_as_any_other(store: Store) -> None:
    add(store, "aaaa1", "web", volatile=True)
    add(store, "bbbb2", "db", volatile=False)
    assert [row.name for row in store.records.containers()] == ["db", "web"]
    assert store.records.find_container("aaa").name == "web"
    store.records.update_container("aaaa1", document="{}", name="www")
    assert store.records.container("aaaa1").document == "{}"
    assert store.records.find_container("www").id == "aaaa1"
    store.records.remove_container("aaaa1")
    with pytest.raises(ContainerNotFound):
        store.records.container("aaaa1")


@pytest.mark.parametrize("first", [True, False])
def test_a_name_is_given_once_over_both(store: Store, *, first: bool) -> None:
    add(store, "aaaa1", "web", volatile=first)
    add(store, "cccc3", "other", volatile=not first)
    with pytest.raises(Conflict, match="'web' is taken by container aaaa1"):
        add(store, "bbbb2", "web", volatile=not first)
    with pytest.raises(Conflict, match="'web' is taken by container aaaa1"):
        store.records.update_container("cccc3", name="web")
    assert store.records.container("cccc3").name == "other"


def test_its_rows_do_not_touch_the_durable_file(store: Store) -> None:
    store.records.add_network(id="n1", name="bridge", document="{}")
    before = (store.root / "nbc.db").read_bytes()
    add(store, "aaaa1", "web", volatile=True)
    assert store.records.lease_address("n1", "aaaa1", choose) == "10.0.0.2"
    store.records.update_container("aaaa1", document="{}")
    store.records.release_addresses("aaaa1")
    store.records.remove_container("aaaa1")
    assert (store.root / "nbc.db").read_bytes() == before
    add(store, "bbbb2", "web", volatile=False)
    assert (store.root / "nbc.db").read_bytes() != before


def test_addresses_are_one_pool(store: Store) -> None:
    store.records.add_network(id="n1", name="bridge", document="{}")
    add(store, "aaaa1", "web", volatile=True)
    add(store, "bbbb2", "db", volatile=False)
    leased = [store.records.lease_address("n1", holder, choose) for holder in ("aaaa1", "bbbb2", "a-build-step", "aaaa1")]
    assert leased == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.2"]
    assert store.records.addresses("n1") == dict(zip(("aaaa1", "bbbb2", "a-build-step"), leased, strict=False))
    for holder in ("bbbb2", "a-build-step"):
        store.records.release_addresses(holder)
    with pytest.raises(Conflict, match="in use by 1 containers"):
        store.records.remove_network("n1")
    with pytest.raises(Conflict, match=r"10\.0\.0\.2 is taken"):
        store.records.lease_address("n1", "bbbb2", lambda _taken: "10.0.0.2")
    with pytest.raises(NetworkNotFound):
        store.records.lease_address("n2", "aaaa1", choose)
    store.records.remove_container("aaaa1")
    store.records.remove_network("n1")


def test_another_process_sees_it_and_a_kill_keeps_it(root: Path, store: Store, run_python: RunPython) -> None:
    add(store, "aaaa1", "web", volatile=True)
    code = (
        "import os, pathlib, sys; from notebook_containers.store.store import Store; store = Store.open(pathlib.Path(sys.argv[1])); "
        "print(store.records.container('aaaa1').name, flush=True); "
        "store.records.add_container(id='bbbb2', name='db', image='x', document='{}', volatile=True); os.kill(os.getpid(), 9)"
    )
    assert run_python(code, root).stdout == "web\n"
    assert store.records.container("bbbb2").name == "db"


def test_a_restart_takes_it_away_and_what_it_left_is_freed(root: Path) -> None:
    with Store.open(root) as store:
        add(store, "aaaa1", "web", volatile=True)
        add(store, "bbbb2", "db", volatile=False)
        for name in ("aaaa1", "bbbb2"):
            store.snapshots.prepare(name, (), volatile=True)
            (root / "containers" / name).mkdir()
        file = store.disk.volatile_rows
    file.rename(file.with_name("volatile-an-earlier-boot.db"))
    with Store.open(root) as store:
        assert [row.id for row in store.records.containers()] == ["bbbb2"]
        assert store.snapshots.list() == ["bbbb2"]
    assert [path.name for path in (root / "containers").iterdir()] == ["bbbb2"]
    assert not list(root.glob("volatile-an-earlier-boot*"))


def test_a_torn_file_of_an_earlier_boot_is_never_read(root: Path) -> None:
    with Store.open(root):
        pass
    (root / "volatile-an-earlier-boot.db").write_bytes(b"torn by a power cut" * 300)
    with Store.open(root) as store:
        assert store.records.containers() == []
    assert not (root / "volatile-an-earlier-boot.db").exists()

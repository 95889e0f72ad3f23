from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from notebook_containers.errors import Conflict, ContainerNotFound, NetworkNotFound, StoreError
from notebook_containers.oci.image import Digest
from notebook_containers.store import database
from notebook_containers.store.database import check_database
from notebook_containers.store.store import Store

RunPython = Callable[..., subprocess.CompletedProcess[str]]
DIFF = Digest.of(b"layer")


def add(store: Store, id: str, name: str) -> None:
    store.records.add_container(id=id, name=name, image="sha256:x", document='{"a":1}')


def test_containers_come_and_go(store: Store) -> None:
    add(store, "aaaa1", "web")
    add(store, "aabb2", "db")
    assert [row.name for row in store.records.containers()] == ["db", "web"]
    row = store.records.container("aaaa1")
    assert (row.name, row.image, row.document) == ("web", "sha256:x", '{"a":1}')
    assert row.created > 1.7e9
    store.records.update_container("aaaa1", document="{}", name="www")
    assert store.records.container("aaaa1").document == "{}"
    assert store.records.find_container("www").id == "aaaa1"
    store.records.remove_container("aaaa1")
    store.records.remove_container("aaaa1")
    with pytest.raises(ContainerNotFound, match="aaaa1"):
        store.records.container("aaaa1")
    with pytest.raises(ContainerNotFound, match="aaaa1"):
        store.records.update_container("aaaa1", document="{}")


def test_a_taken_name_names_its_holder(store: Store) -> None:
    add(store, "aaaa1", "web")
    add(store, "bbbb2", "db")
    with pytest.raises(Conflict, match="'web' is taken by container aaaa1"):
        add(store, "cccc3", "web")
    with pytest.raises(Conflict, match="'web' is taken by container aaaa1"):
        store.records.update_container("bbbb2", name="web")
    assert store.records.container("bbbb2").name == "db"


def test_find_takes_id_then_name_then_prefix(store: Store) -> None:
    add(store, "aaaa1", "aabb2")
    add(store, "aabb2", "db")
    add(store, "aabb3", "x")
    assert store.records.find_container("aabb2").name == "db"
    assert store.records.find_container("/db").id == "aabb2"
    assert store.records.find_container("aaa").id == "aaaa1"
    with pytest.raises(Conflict, match="more than one container id starts with 'aab'"):
        store.records.find_container("aab")
    for text in ("zz", "", "%", "_aaa1"):
        with pytest.raises(ContainerNotFound):
            store.records.find_container(text)


def test_networks_and_addresses(store: Store) -> None:
    store.records.add_network(id="n1", name="bridge", document="{}")
    with pytest.raises(Conflict, match="'bridge' is taken by network n1"):
        store.records.add_network(id="n2", name="bridge", document="{}")
    assert store.records.network("bridge") == store.records.network("n1")
    store.records.update_network("n1", document='{"x":1}')
    assert [row.document for row in store.records.networks()] == ['{"x":1}']

    def first_free(taken: set[str]) -> str:
        return next(address for address in ("10.0.0.2", "10.0.0.3", "10.0.0.4") if address not in taken)

    assert store.records.lease_address("n1", "c1", first_free) == "10.0.0.2"
    assert store.records.lease_address("n1", "c1", first_free) == "10.0.0.2"
    assert store.records.lease_address("n1", "c2", first_free) == "10.0.0.3"
    with pytest.raises(Conflict, match=r"10\.0\.0\.2 is taken"):
        store.records.lease_address("n1", "c3", lambda _taken: "10.0.0.2")
    with pytest.raises(NetworkNotFound, match="nowhere"):
        store.records.lease_address("nowhere", "c3", first_free)
    with pytest.raises(Conflict, match="in use by 2 containers"):
        store.records.remove_network("n1")
    store.records.release_addresses("c1", network="n1")
    assert store.records.addresses("n1") == {"c2": "10.0.0.3"}
    add(store, "c2", "web")
    store.records.remove_container("c2")
    store.records.remove_network("n1")
    with pytest.raises(NetworkNotFound, match="'n1'"):
        store.records.network("n1")
    with pytest.raises(NetworkNotFound):
        store.records.update_network("n1", document="{}")


def test_the_build_cache(store: Store) -> None:
    assert store.records.cache_get("k") is None
    store.records.cache_put("k", DIFF, '{"line":1}')
    store.records.cache_put("k", None)
    store.records.cache_put("l", DIFF)
    row = store.records.cache_get("k")
    assert row is not None
    assert (row.diff_id, row.document) == (None, "{}")
    assert {r.key: r.diff_id for r in store.records.cache_list()} == {"k": None, "l": DIFF}
    assert store.records.cache_prune(before=1.0) == 0
    assert store.records.cache_prune() == 2
    assert store.records.cache_list() == []


def test_layers_are_replaced(store: Store) -> None:
    store.records.add_layer(DIFF, "{}")
    store.records.add_layer(DIFF, '{"x":1}')
    assert store.records.layer(DIFF) == '{"x":1}'
    assert store.records.layers() == [(DIFF, '{"x":1}')]
    store.records.remove_layer(DIFF)
    assert store.records.layer(DIFF) is None


def test_a_transaction_that_raises_changes_nothing(store: Store) -> None:
    def half(error: BaseException) -> None:
        with store.records.transaction() as connection:
            add(store, "aaaa1", "web")
            connection.execute("INSERT INTO cache VALUES ('k', NULL, 0, '')")
            raise error

    for error in (RuntimeError("stop"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            half(error)
        assert store.records.containers() == []
        assert store.records.cache_list() == []
    add(store, "aaaa1", "web")


def test_commits_are_full_and_rolled_back_by_journal(store: Store) -> None:
    with store.records.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("persist",)


def test_every_thread_has_its_connection_and_dead_ones_are_closed(store: Store) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(5):
                add(store, f"{number}-{step}", f"n{number}-{step}")
                store.records.containers()
        except BaseException as err:
            failures.append(err)

    for _ in range(3):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        for row in store.records.containers():
            store.records.remove_container(row.id)
    before = len(os.listdir("/proc/self/fd"))
    last = threading.Thread(target=store.records.containers)
    last.start()
    last.join()
    assert len(os.listdir("/proc/self/fd")) <= before


WRITER = """
import json, pathlib, sys, time
from notebook_containers.store.store import Store
from notebook_containers.errors import Conflict
store = Store.open(pathlib.Path(sys.argv[1]))
number, steps = sys.argv[2], int(sys.argv[3])
store.records.add_network(id="n", name="n", document="{}") if number == "0" else None
while not store.records.networks():
    time.sleep(0.01)
won, took = 0, []
for step in range(steps):
    id = f"{number}-{step}"
    for write in (
        lambda: store.records.add_container(id=id, name=id, image="i", document="{}"),
        lambda: store.records.lease_address("n", id, lambda taken: f"10.0.{len(taken) // 250}.{len(taken) % 250}"),
        lambda: store.records.add_container(id="x" + id, name=f"wanted-{step}", image="i", document="{}"),
    ):
        began = time.monotonic()
        try:
            write()
            won += 1
        except Conflict:
            pass
        took.append(time.monotonic() - began)
print(json.dumps([won, took]))
"""
READER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM networks").fetchall()
time.sleep(1.5)
connection.execute("COMMIT")
"""


def test_rel_11_many_processes_write_at_once_beside_a_long_reader(store: Store) -> None:
    """``NBC_WRITERS=50,67`` for that many processes and steps of three transactions each."""
    writers, steps = (int(word) for word in os.environ.get("NBC_WRITERS", "50,67").split(","))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    workers = [start(WRITER, str(store.root), str(number), str(steps)) for number in range(writers)]
    reader = start(READER, str(store.records.path))
    outputs = [worker.communicate(timeout=600)[0] for worker in (*workers, reader)]
    assert [worker.returncode for worker in (*workers, reader)] == [0] * (writers + 1), outputs
    found = [json.loads(output) for output in outputs[:-1]]
    assert sum(won for won, _took in found) == 2 * writers * steps + steps
    assert len(store.records.containers()) == writers * steps + steps
    assert len(set(store.records.addresses("n").values())) == writers * steps
    took = sorted(second for _won, seconds in found for second in seconds)
    print(
        f"{len(took)} transactions, median {took[len(took) // 2]:.3f} s, p99 {took[len(took) * 99 // 100]:.3f} s, longest {took[-1]:.3f} s"
    )
    assert check_database(store.records.path) == []


def nobody_holds_it(store: Store) -> None:
    """Neither SQLite's lock nor the writers' turn."""
    with closing(sqlite3.connect(store.records.path, timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    directory = os.open(store.root, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(directory)


def test_an_interrupt_just_after_the_beginning_leaves_no_transaction_open(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = database.Database._begin

    def interrupted(self: database.Database, connection: sqlite3.Connection) -> None:
        begin(self, connection)
        raise KeyboardInterrupt

    monkeypatch.setattr(database.Database, "_begin", interrupted)
    with pytest.raises(KeyboardInterrupt), store.records.transaction():
        pass
    nobody_holds_it(store)


def test_a_second_interrupt_while_the_first_is_undone_leaves_no_transaction_open(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupts = [KeyboardInterrupt()]

    def roll_back(connection: sqlite3.Connection) -> None:
        if interrupts:
            raise interrupts.pop()
        rolled_back(connection)

    rolled_back = database._roll_back
    monkeypatch.setattr(database, "_roll_back", roll_back)

    def write() -> None:
        with store.records.transaction() as connection:
            connection.execute("UPDATE containers SET name = 'changed'")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert not interrupts
    nobody_holds_it(store)


def test_a_child_of_fork_does_not_break_the_parents_transaction(store: Store) -> None:
    add(store, "aaaa1", "web")
    with store.records.transaction() as connection:
        connection.execute("UPDATE containers SET name = 'changed'")
        pid = os.fork()
        if pid == 0:
            names = [row.name for row in store.records.containers()]
            os._exit(0 if names == ["web"] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert [row.name for row in store.records.containers()] == ["changed"]


def test_a_lock_that_never_ends_is_an_error_that_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notebook_containers.store.database.BUSY_TIMEOUT_S", 0.05)
    other = sqlite3.connect(store.records.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            add(store, "aaaa1", "web")
        except StoreError as err:
            failures.append(err)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    other.close()
    assert len(failures) == 1
    assert "busy" in str(failures[0])


@pytest.mark.parametrize(("point", "expected"), [("records.before_commit", 0), ("records.after_commit", 1)])
def test_a_kill_leaves_the_row_whole_or_absent(store: Store, run_python: RunPython, point: str, expected: int) -> None:
    code = """
import os, pathlib, sys
from notebook_containers.store.store import Store
store = Store.open(pathlib.Path(sys.argv[1]))
os.environ["NBC_FAILPOINTS"] = sys.argv[2] + "=kill9"
store.records.add_container(id="a", name="a", image="i", document="{}")
"""
    assert run_python(code, store.root, point).returncode == -9
    assert len(store.records.containers()) == expected
    assert check_database(store.records.path) == []

"""REL-04: in which order the disk is told: what becomes visible is on the disk before, its name before the row, and a row goes first.

And what follows from it: trees that a power cut could have left at any moment (:mod:`.crash_states`) are opened and checked. CI looks at
800 of them, ``NBC_CRASH_STATES`` says how many; ``NBC_SEED`` chooses others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from notebook_containers.linux import syscalls
from notebook_containers.store.check import check
from notebook_containers.store.collect import collect
from notebook_containers.store.store import Store
from tests.needs import need
from tests.reliability.crash_states import History, make, states
from tests.reliability.traces import SYNCS, Call, record

pytestmark = pytest.mark.root

TREE = Path(__file__).parents[2]
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(TREE)}
STATES = int(os.environ.get("NBC_CRASH_STATES", "800"))
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
EARLIER_BOOT = "00000000-0000-0000-0000-000000000000"
ADDING = """
import io, pathlib, sys, tarfile
from notebook_containers.errors import Error
from notebook_containers.oci.image import ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.store.store import Store
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as tar:
    tar.addfile(tarfile.TarInfo("file"))
try:
    with Store.open(pathlib.Path(sys.argv[1])) as store, store.lease():
        layer = store.layers.apply(io.BytesIO(buffer.getvalue()))
        store.images.put(ImageConfig(architecture="amd64", os="linux"), [layer], tags=[Reference.parse("a:1")])
except Error as err:
    sys.exit(f"{type(err).__name__}: {err}")
"""
OPERATIONS = """
import io, pathlib, sys, tarfile
from notebook_containers.oci.image import ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.store.collect import collect
from notebook_containers.store.store import Store
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as tar:
    info = tarfile.TarInfo("file")
    info.size = 100_000
    tar.addfile(info, io.BytesIO(bytes(range(250)) * 400))
store = Store.open(pathlib.Path(sys.argv[1]))
with store.lease():
    layer = store.layers.apply(io.BytesIO(buffer.getvalue()))
    print("adding-a:1", flush=True)
    store.images.put(ImageConfig(architecture="amd64", os="linux"), [layer], tags=[Reference.parse("a:1")])
    print("added-a:1", flush=True)
    store.snapshots.prepare("box", [layer.diff_id])
    (store.root / "snapshots/box/upper/new").write_bytes(b"x" * 10_000)
    second = store.snapshots.copy("box")
    store.snapshots.commit("box")
    print("adding-b:1", flush=True)
    store.images.put(ImageConfig(architecture="amd64", os="linux"), [layer, second], tags=[Reference.parse("b:1")])
    print("added-b:1", flush=True)
store.volumes.create("volume")
print("volume", flush=True)
store.disk.settle()
print("removing", flush=True)
for name in ("b:1", "a:1"):
    store.images.remove(store.images.resolve(name).id)
    print(f"removed-{name}", flush=True)
collect(store)
store.close()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What the operations asked of the kernel, and the store's directory."""

    root: Path
    calls: Sequence[Call]

    said: Sequence[tuple[int, str]]
    """What the operations printed, and at which line of the trace."""

    def told(self, moment: int) -> list[str]:
        """Return what the operations had said until this line of the trace."""
        return [word for when, word in self.said if when < moment]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    need(shutil.which("strace"), "strace")
    folder = tmp_path_factory.mktemp("ordering")
    calls = record([sys.executable, "-c", OPERATIONS, str(folder / "store")], folder / "trace", ENVIRONMENT)
    said = [(call.ended, call.strings[0].decode().strip()) for call in calls if call.words.startswith("write(1<")]
    return Trace(root=folder / "store", calls=calls, said=said)


def test_rel04_what_is_visible_is_on_the_disk_and_rows_come_last_and_go_first(trace: Trace) -> None:
    root = trace.root
    syncs = [call for call in trace.calls if call.name in SYNCS]
    renames = [call for call in trace.calls if call.name.startswith("rename")]
    rows = [call for call in syncs if call.paths[0] == f"{root}/nbc.db"]
    published = [call for call in renames if call.paths[1].startswith((f"{root}/blobs/", f"{root}/layers/"))]
    assert len(published) >= 8, "two layers as tree and blob, two configs, two manifests"
    for each in published:
        source, target = each.paths
        whole = [s for s in syncs if s.paths[0] == source or (s.name == "syncfs" and s.paths[0].startswith(str(root)))]
        assert any(s.ended < each.began for s in whole), f"{target} was visible before it was on the disk"
        named = [s.ended for s in syncs if s.paths[0] == str(Path(target).parent) and s.began > each.ended]
        row = [r.began for r in rows if r.began > each.began]
        assert named, f"the name {target} was never forced to the disk"
        assert row, f"no row followed {target}"
        assert min(named) < min(row), f"a row was committed before the name {target} was on the disk"
    thrown = [call for call in renames if call.paths[0].startswith((f"{root}/blobs/", f"{root}/layers/"))]
    assert len(thrown) >= 8
    last_published = max(each.ended for each in published)
    for each in thrown:
        assert f"{root}/trash/" in each.paths[1], "what is deleted goes to the trash first"
        assert any(last_published < r.ended < each.began for r in rows), f"{each.paths[0]} went before its row"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory: what is synced there costs nothing."""
    place = tmp_path / "disk"
    place.mkdir()
    syscalls.mount("tmpfs", str(place), "tmpfs", 0, "size=64m")
    yield place
    syscalls.umount2(str(place))


def _name(name: str) -> str:
    """Return a name as a later boot finds it."""
    return name.replace(BOOT, EARLIER_BOOT)


def test_rel04_no_tree_that_a_power_cut_may_leave_is_damaged(trace: Trace, disk: Path) -> None:
    history = History(trace.root, trace.calls)
    assert len(history.published) >= 8
    seed = int(os.environ.get("NBC_SEED", "1"))
    looked = 0
    for moment, changes in states(history, STATES, seed):
        make(history.tree(changes), disk / "store", _name)
        _is_sound(disk / "store", trace.told(moment), f"NBC_SEED={seed} NBC_CRASH_STATES={STATES}: state {looked}, cut at line {moment}")
        shutil.rmtree(disk / "store")
        looked += 1
    assert looked > STATES // 2


def _is_sound(place: Path, told: Sequence[str], where: str) -> None:
    """The store opens; nothing in it is damaged; what was said to be there is, and what was said to be gone is not (P1, P2)."""
    with Store.open(place) as store:
        assert [str(finding) for finding in check(store) if not finding.garbage] == [], where
        for name in ("a:1", "b:1"):
            there = name in {tag for image in store.images.list() for tag in image.tags}
            if f"added-{name}" in told and "removing" not in told:
                assert there, f"{name} was acknowledged, and is lost; {where}"
            if f"removed-{name}" in told or f"adding-{name}" not in told:
                assert not there, f"{name} is there, and should not be; {where}"
        assert "volume" not in told or store.volumes.get("volume").path.is_dir(), where
        collect(store)
        assert [str(finding) for finding in check(store) if not finding.garbage] == [], where


def test_rel04_the_check_sees_what_nobody_synced(trace: Trace, disk: Path) -> None:
    """The oracle's own test: were blobs and trees not synced, some of these trees would be damaged."""
    database = (str(trace.root), f"{trace.root}/nbc.db", f"{trace.root}/nbc.db-journal")
    careless = [call for call in trace.calls if call.name not in SYNCS or call.paths[0] in database]
    history = History(trace.root, careless)
    for _moment, changes in states(history, STATES, seed=1):
        make(history.tree(changes), disk / "store", _name)
        with Store.open(disk / "store") as store:
            if any(not finding.garbage for finding in check(store)):
                return
        shutil.rmtree(disk / "store")
    pytest.fail("no damage was seen")


def test_rel04_a_sync_that_fails_is_fatal_and_not_asked_again(tmp_path: Path) -> None:
    need(shutil.which("strace"), "strace")
    Store.open(tmp_path / "empty").close()
    failed = [fault for call in SYNCS for fault in _faults(call, tmp_path)]
    assert len(failed) >= 10, "seven of files and directories, one of a tree, and SQLite's"


def _faults(call: str, folder: Path) -> Iterator[str]:
    """Add an image with the first sync of this kind failing, then with the second, until none fails; yield what failed."""
    for number in range(1, 30):
        place = folder / f"{call}{number}"
        shutil.copytree(folder / "empty", place)
        words = ["strace", "-f", "-y", "-qq", "-e", f"trace={','.join(SYNCS)}", "-e", f"inject={call}:error=EIO:when={number}"]
        program = [*words, "-e", "signal=none", "-o", str(folder / "trace"), sys.executable, "-c", ADDING, str(place)]
        done = subprocess.run(program, env=ENVIRONMENT, check=False, capture_output=True, text=True, timeout=120)
        lines = (folder / "trace").read_text().splitlines()
        hit = next((index for index, line in enumerate(lines) if "(INJECTED)" in line), None)
        with Store.open(place) as store:
            assert [str(finding) for finding in check(store) if not finding.garbage] == [], f"{call} {number}"
            assert hit is not None or store.images.list(), f"{call} {number}"
        if hit is None:
            assert done.returncode == 0, done.stderr
            return
        if f"<{place}>" not in lines[hit]:  # the journal's directory: SQLite asks nobody whether that went well
            assert done.returncode == 1, f"{lines[hit]}: {done.stderr}"
            assert re.fullmatch(r"StoreError: cannot [^\n]*(input/output|disk I/O) error\n", done.stderr), done.stderr
        item = re.search(r"<(.*/item-[^>]*)>", lines[hit])
        assert item is None or not any(f"<{item[1]}>" in line for line in lines[hit + 1 :]), f"{item[1]} was synced again"
        yield lines[hit]

"""REL-04: in which order the disk is told: what becomes visible is on the disk before, its name before the row, and a row goes first."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.needs import need

pytestmark = pytest.mark.root

TREE = Path(__file__).parents[2]
CALLS = ("fsync", "fdatasync", "syncfs", "rename", "renameat", "renameat2")
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
    image = store.images.put(ImageConfig(architecture="amd64", os="linux"), [layer], tags=[Reference.parse("a:1")])
    store.snapshots.prepare("box", [layer.diff_id])
    (store.root / "snapshots/box/upper/new").write_bytes(b"x" * 10_000)
    second = store.snapshots.copy("box")
    store.snapshots.commit("box")
    store.images.put(ImageConfig(architecture="amd64", os="linux"), [layer, second], tags=[Reference.parse("b:1")])
print("removing", flush=True)
store.disk.settle()
for each in store.images.list():
    store.images.remove(each.id)
collect(store)
store.close()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A system call that went well: when it began and ended (lines of the trace), and the paths in it."""

    name: str
    paths: tuple[str, ...]
    began: int
    ended: int


def calls(trace: str) -> list[Call]:
    found: list[Call] = []
    open_calls: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(trace.splitlines()):
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if resumed := re.match(r"<\.\.\. (\w+) resumed>(.*)", rest):
            began, start = open_calls.pop((pid, resumed[1]))
            rest = start + resumed[2]
        else:
            began = number
        name = rest.partition("(")[0]
        if rest.endswith("<unfinished ...>"):
            open_calls[pid, name] = number, rest.removesuffix("<unfinished ...>")
        elif rest.endswith("= 0"):
            paths = re.findall(r'"([^"]*)"', rest) if name.startswith("rename") else re.findall(r"<([^>]*)>", rest)
            found.append(Call(name=name, paths=tuple(paths), began=began, ended=number))
    assert open_calls == {}
    return found


def test_rel04_what_is_visible_is_on_the_disk_and_rows_come_last_and_go_first(tmp_path: Path) -> None:
    need(shutil.which("strace"), "strace")
    root, trace = tmp_path / "store", tmp_path / "trace"
    words = ["strace", "-f", "-y", "-qq", "-s", "4096", "-e", f"trace={','.join(CALLS)}", "-e", "signal=none", "-o", str(trace)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(TREE)}
    subprocess.run([*words, sys.executable, "-c", OPERATIONS, str(root)], env=environment, check=True, capture_output=True, timeout=120)
    seen = calls(trace.read_text())
    syncs = [call for call in seen if not call.name.startswith("rename")]
    rows = [call for call in syncs if call.paths[0] == f"{root}/nbc.db"]
    published = [
        call for call in seen if call.name.startswith("rename") and call.paths[1].startswith((f"{root}/blobs/", f"{root}/layers/"))
    ]
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
    thrown = [call for call in seen if call.name.startswith("rename") and call.paths[0].startswith((f"{root}/blobs/", f"{root}/layers/"))]
    assert len(thrown) >= 8
    last_published = max(each.ended for each in published)
    for each in thrown:
        assert f"{root}/trash/" in each.paths[1], "what is deleted goes to the trash first"
        assert any(last_published < r.ended < each.began for r in rows), f"{each.paths[0]} went before its row"

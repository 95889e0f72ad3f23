"""Importing a root file system of 204 MB in 6,800 files as one layer: unpacked, digested and recorded."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from pathlib import Path

from notebook_containers.oci.image import Digest
from notebook_containers.store.store import Store
from tests.bench.bench import Bench
from tests.bench.measure import Contender, Row, contest, faster, within
from tests.bench.peers.tool import Tool

FILES, BYTES = 6_800, 204_000_000


def rows(bench: Bench) -> list[Row]:
    """Time it against GNU tar alone (no digest, no record), docker and podman."""
    archive = tree_archive(bench.place)
    tree = bench.place / "unpacked"
    store = Store.open(bench.ours.root)
    imported: list[Digest] = []

    def ours() -> None:
        with open(archive, "rb") as stream:
            imported.append(store.layers.apply(stream).diff_id)

    def forget() -> None:
        digest = imported.pop()
        store.layers.remove(digest)
        store.content.remove(digest)

    def tar() -> None:
        tree.mkdir()
        subprocess.run(["tar", "-xf", str(archive), "-C", str(tree)], check=True)

    try:
        return contest(
            f"import a tree, {BYTES // 1_000_000} MB, {FILES} files",
            Contender(act=ours, reset=forget),
            {
                "GNU tar alone": Contender(act=tar, reset=lambda: subprocess.run(["rm", "-rf", str(tree)], check=True), target=within(2)),
                "docker": _importer(bench.docker, archive, faster_than=1),
                "podman": _importer(bench.podman, archive, faster_than=1),
            },
            repeat=bench.repeat,
        )
    finally:
        store.close()
        archive.unlink()


def _importer(tool: Tool, archive: Path, *, faster_than: float) -> Contender:
    name = "localhost/imported"
    return Contender(
        act=lambda: tool.call("import", str(archive), name), reset=lambda: tool.call("rmi", "--force", name), target=faster(faster_than)
    )


def tree_archive(place: Path) -> Path:
    """Write a tree like a distribution's: many small files, few large ones; the same every time."""
    path = place / "tree.tar"
    chance = random.Random(204)
    weights = [chance.paretovariate(0.9) for _ in range(FILES)]
    unit = BYTES / sum(weights)
    pool = chance.randbytes(1 << 20)
    with tarfile.open(path, "w") as archive:
        for directory in range(100):
            entry = tarfile.TarInfo(f"usr/lib/d{directory}")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for number, weight in enumerate(weights):
            entry = tarfile.TarInfo(f"usr/lib/d{number % 100}/f{number}")
            entry.size, entry.mode = int(weight * unit), 0o644
            data = (pool * (entry.size // len(pool) + 1))[: entry.size]
            archive.addfile(entry, io.BytesIO(data))
    return path

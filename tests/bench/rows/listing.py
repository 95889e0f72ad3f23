"""Lists of a thousand, and the last of 120 layers: what must not grow with what is there."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from notebook_containers import Engine
from notebook_containers.oci.image import Digest, ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.store.layers import Layer
from notebook_containers.store.store import Store
from tests.bench.bench import Bench
from tests.bench.measure import Row, Target, at_most

MANY, DEEP = 1000, 120


def rows(bench: Bench) -> list[Row]:
    """Time lists in an engine that is open, and a snapshot over one layer and over 120."""
    place = bench.place / "listing"
    with Engine(root=place / "root", run=place / "run") as engine:
        store = engine._parts.store
        layers = [_layer(store, number) for number in range(DEEP)]
        _images(store, layers)
        _containers(engine)
        all_ids = [layer.diff_id for layer in layers]
        one, deep = _median(lambda: _prepare(store, all_ids[:1]), bench), _median(lambda: _prepare(store, all_ids), bench)
        return [
            _row(f"images, {MANY} of them", _median(lambda: engine.images.sizes(engine.images.list()), bench), at_most(20)),
            _row(f"ps -a, {MANY} containers", _median(lambda: engine.containers.list(all=True), bench), at_most(200)),
            _row("a writable layer over 1 layer", one, at_most(5)),
            _row(f"a writable layer over {DEEP} layers", deep, at_most(one + 3)),
        ]


def _row(work: str, ours: float, target: Target) -> Row:
    return Row(work=work, ours=ours, peer="", target=target)


def _median(act: Callable[[], object], bench: Bench) -> float:
    times = []
    for _ in range(max(5, bench.repeat)):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2] * 1000


def _prepare(store: Store, layers: list[Digest]) -> None:
    store.snapshots.prepare("bench", layers, volatile=True)
    store.snapshots.mounts("bench", volatile=True)
    store.snapshots.remove("bench")


def _layer(store: Store, number: int) -> Layer:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(f"file{number}")
        tar.addfile(info)
    return store.layers.apply(io.BytesIO(buffer.getvalue()))


def _images(store: Store, layers: list[Layer]) -> None:
    with store.lease(), store.records.transaction():
        for number in range(MANY):
            config = ImageConfig(architecture="amd64", os="linux", created="2026-01-02T03:04:05Z", author=str(number))
            store.images.put(config, layers[number % 100 : number % 100 + 10], tags=[Reference.parse(f"image{number}")])


def _containers(engine: Engine) -> None:
    """Copy one container's record and directory a thousand times."""
    made = engine.containers.create("image0", ["true"], network="none")
    records, first = engine._parts.store.records, engine._parts.bundle_path(made.id)
    row = records.container(made.id)
    with records.transaction():
        for number in range(1, MANY):
            identity = f"{number:064x}"
            document = json.dumps({**json.loads(row.document), "id": identity, "name": f"c{number}"})
            records.add_container(id=identity, name=f"c{number}", image=row.image, document=document)
            Path(first.parent / identity).mkdir()

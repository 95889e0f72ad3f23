"""A layer made while its blob arrives: one pass, nothing visible before all is verified, memory that does not grow."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from notebook_containers.errors import Corrupt, DiskFull, Error, InvalidDocument, RegistryError
from notebook_containers.oci.image import LAYER_GZIP, Descriptor, Digest
from notebook_containers.store.store import Store
from tests.store.raw_tar import END, header

NOISE = os.urandom(300_000)
PLAIN = header(b"d", b"5") + header(b"d/f", data=b"hello" * 1000) + header(b"g", data=NOISE) + END
PACKED = gzip.compress(PLAIN)


def described(data: bytes) -> Descriptor:
    return Descriptor(media_type=LAYER_GZIP, digest=Digest.of(data), size=len(data))


def assert_nothing(store: Store) -> None:
    assert store.layers.list() == []
    assert list(store.content.list()) == []
    assert os.listdir(store.root / "layers") == []
    assert [p for p in store.disk.staging.iterdir() if not p.name.endswith(".lock")] == []
    assert list(store.disk.trash.iterdir()) == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_blob_tree_and_record_in_one_pass(store: Store, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(PLAIN)
    layer = store.layers.apply_stream(io.BytesIO(packed), described(packed), expected=Digest.of(PLAIN))
    assert (layer.blob, layer.size, layer.diff_id) == (described(packed), len(PLAIN), Digest.of(PLAIN))
    assert store.content.read(layer.blob.digest) == packed
    assert (layer.tree / "g").read_bytes() == NOISE


class Unread:
    def read(self, size: int, /) -> bytes:
        raise AssertionError(f"{size} bytes were asked for")


def test_a_layer_that_is_here_is_not_read_again(store: Store) -> None:
    first = store.layers.apply_stream(io.BytesIO(PACKED), described(PACKED), expected=Digest.of(PLAIN))
    assert store.layers.apply_stream(Unread(), described(PACKED), expected=Digest.of(PLAIN)) == first


class Source:
    """Gives ``data``, then fails as a connection does."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        if piece := self._data.read(min(size, 1000)):
            return piece
        raise RegistryError("the connection broke")


@pytest.mark.parametrize(
    ("sent", "error", "says"),
    [
        (io.BytesIO(PACKED[:-100]), Corrupt, "not the .* announced"),
        (io.BytesIO(PACKED + b"x"), Corrupt, "longer than"),
        (io.BytesIO(PACKED[:5000] + b"x" + PACKED[5001:]), Corrupt, "wrong bytes"),
        (io.BytesIO(b"<html>not found</html>".ljust(len(PACKED))), Corrupt, "wrong bytes"),
        (io.BytesIO(b""), Corrupt, "has 0 bytes"),
        (Source(PACKED[:-100]), RegistryError, "the connection broke"),
        (Source(PACKED[:100]), RegistryError, "the connection broke"),
    ],
)
def test_tar12_of_a_source_that_lies_or_breaks_nothing_is_left(
    store: Store, sent: io.BytesIO | Source, error: type[Error], says: str
) -> None:
    with pytest.raises(error, match=says):
        store.layers.apply_stream(sent, described(PACKED), expected=Digest.of(PLAIN))
    assert_nothing(store)


def test_tar12_the_right_blob_of_another_layer_and_of_a_hostile_one(store: Store) -> None:
    with pytest.raises(Corrupt, match="is not the layer"):
        store.layers.apply_stream(io.BytesIO(PACKED), described(PACKED), expected=Digest.of(b"another"))
    assert_nothing(store)
    hostile = gzip.compress(header(b"a", data=b"x" * 5000) + header(b"../out") + END)
    with pytest.raises(InvalidDocument, match="points outside"):
        store.layers.apply_stream(io.BytesIO(hostile), described(hostile), expected=Digest.of(b"another"))
    assert_nothing(store)


def test_nothing_is_visible_before_the_last_byte(store: Store) -> None:
    seen: list[object] = []

    class Watching(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            seen.append((store.layers.list(), list(store.content.list()), os.listdir(store.root / "layers")))
            return super().read(min(size or 1, 10_000))

    store.layers.apply_stream(Watching(PACKED), described(PACKED), expected=Digest.of(PLAIN))
    assert len(seen) > 10
    assert all(look == ([], [], []) for look in seen)


def test_layers_beside_each_other(store: Store) -> None:
    plain = [header(b"f%d" % n, data=os.urandom(200_000)) + END for n in range(6)]
    packed = [gzip.compress(data, 1) for data in plain]

    def apply(data: bytes, blob: bytes) -> None:
        store.layers.apply_stream(io.BytesIO(blob), described(blob), expected=Digest.of(data))

    jobs = [threading.Thread(target=apply, args=pair) for pair in zip(plain, packed, strict=True)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert {layer.diff_id for layer in store.layers.list()} == {Digest.of(data) for data in plain}


HOLES = """
import hashlib, io, os, sys
from pathlib import Path
from isal import igzip
from notebook_containers.oci.image import LAYER_GZIP, Descriptor, Digest
from notebook_containers.store.store import Store
from tests.store.raw_tar import END, base256, header

BYTES, ROUND = int(sys.argv[2]), 1 << 20
noise = os.urandom(1 << 14)
piece = noise + bytes(ROUND - len(noise))
whole, path = hashlib.sha256(), Path(sys.argv[1] + ".gz")
with igzip.open(path, "wb", compresslevel=1) as file:
    head = header(b"big", size=base256(BYTES, 12))
    for data in (head, *[piece] * (BYTES // ROUND), END):
        file.write(data)
        whole.update(data)
found = hashlib.sha256(path.read_bytes()).hexdigest()
blob = Descriptor(media_type=LAYER_GZIP, digest=Digest("sha256:" + found), size=path.stat().st_size)
with Store.open(Path(sys.argv[1])) as store, open(path, "rb") as source:
    layer = store.layers.apply_stream(source, blob, expected=Digest("sha256:" + whole.hexdigest()))
    status = (layer.tree / "big").stat()
    assert status.st_size == BYTES, status
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))  # this program's own, not its parent's
    print(int(peak.split()[1]) // 1024, status.st_blocks * 512)
"""


def test_the_memory_of_a_layer_of_two_gigabytes_is_bounded(tmp_path: Path) -> None:
    size = 2 << 30
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))}
    command = [sys.executable, "-c", HOLES, str(tmp_path / "root"), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    peak_mb, on_disk = map(int, done.stdout.split())
    print(f"a layer of {size >> 20} MiB: peak memory {peak_mb} MiB, {on_disk >> 20} MiB on the disk")
    assert peak_mb <= 100
    assert on_disk < size / 8, "zeros became holes"


def test_an_archive_larger_than_the_disk_is_refused_at_once(store: Store) -> None:
    from tests.store.raw_tar import base256

    bomb = gzip.compress(header(b"big", size=base256(2**62, 12)) + bytes(1 << 20))
    with pytest.raises(DiskFull):
        store.layers.apply_stream(io.BytesIO(bomb), described(bomb), expected=Digest.of(b"any"))
    assert_nothing(store)

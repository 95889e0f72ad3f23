"""Layers: one pass from stream to tree, blob and record; whole or absent, one copy however many make it."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from notebook_containers.errors import Corrupt, InvalidArgument, InvalidDocument, StoreError
from notebook_containers.oci.image import LAYER_GZIP, LAYER_TAR, LAYER_ZSTD, Descriptor, Digest
from notebook_containers.store.compression import uncompressed
from notebook_containers.store.pump import Pump
from notebook_containers.store.store import Store
from tests.store.raw_tar import END, header

DATA = header(b"d/", b"5") + header(b"d/f", data=b"hello") + END
# the directory has no x bit: what is in it only root can look at
LOOKS_INSIDE = pytest.mark.root


@LOOKS_INSIDE
def test_apply_makes_blob_tree_and_record(store: Store) -> None:
    layer = store.layers.apply(io.BytesIO(DATA))
    assert layer.diff_id == Digest.of(DATA)
    assert layer.blob == Descriptor(media_type=LAYER_TAR, digest=layer.diff_id, size=len(DATA))
    assert layer.size == len(DATA)
    assert (layer.tree / "d/f").read_bytes() == b"hello"
    assert store.content.read(layer.blob.digest) == DATA
    assert store.layers.get(layer.diff_id) == layer
    assert store.layers.has(layer.diff_id)
    assert store.layers.list() == [layer]
    assert layer.tree.parent.stat().st_mode & 0o777 == 0o700
    assert layer.tree.stat().st_mode & 0o777 == 0o755


@LOOKS_INSIDE
def test_apply_again_gives_the_same_layer(store: Store) -> None:
    first = store.layers.apply(io.BytesIO(DATA))
    inode = (first.tree / "d/f").stat().st_ino
    assert store.layers.apply(io.BytesIO(DATA)) == first
    assert store.layers.apply(io.BytesIO(b"not even read"), expected=first.diff_id) == first
    assert (first.tree / "d/f").stat().st_ino == inode
    assert len(os.listdir(store.root / "layers")) == 1


def test_other_bytes_than_expected_leave_nothing(store: Store) -> None:
    with pytest.raises(Corrupt):
        store.layers.apply(io.BytesIO(DATA), expected=Digest.of(b"other"))
    assert store.layers.list() == []
    assert list(store.content.list()) == []
    assert os.listdir(store.root / "layers") == []


def test_bytes_after_the_archives_end_count_for_the_digest(store: Store) -> None:
    data = DATA + b"trailing" * 100
    assert store.layers.apply(io.BytesIO(data)).diff_id == Digest.of(data)


def test_an_empty_layer(store: Store) -> None:
    assert list(store.layers.apply(io.BytesIO(END)).tree.iterdir()) == []


@LOOKS_INSIDE
@pytest.mark.parametrize(
    ("media_type", "compress"),
    [
        (LAYER_GZIP, gzip.compress),
        (LAYER_ZSTD, zstd.compress),
        (LAYER_TAR, bytes),
        (LAYER_GZIP, lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:])),
        (LAYER_GZIP, lambda data: gzip.compress(data) + bytes(100)),
    ],
)
def test_apply_blob(store: Store, media_type: str, compress: Callable[[bytes], bytes]) -> None:
    packed = compress(DATA)
    blob = Descriptor(media_type=media_type, digest=store.content.write(packed), size=len(packed))
    layer = store.layers.apply_blob(blob, expected=Digest.of(DATA))
    assert layer.blob == blob
    assert layer.size == len(DATA)
    assert (layer.tree / "d/f").read_bytes() == b"hello"
    with store.layers.open_tar(layer.diff_id) as stream:
        assert stream.read() == DATA


def test_a_blob_of_other_contents_is_refused(store: Store) -> None:
    blob = Descriptor(media_type=LAYER_TAR, digest=store.content.write(DATA), size=len(DATA))
    with pytest.raises(Corrupt, match="not the layer"):
        store.layers.apply_blob(blob, expected=Digest.of(b"other"))
    assert os.listdir(store.root / "layers") == []


@pytest.mark.parametrize("cut", [5, 20, -4, -9])
@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_damaged_compression_is_named(store: Store, compress: Callable[[bytes], bytes], cut: int) -> None:
    packed = compress(DATA)[:cut]
    blob = Descriptor(media_type=LAYER_TAR, digest=store.content.write(packed), size=len(packed))
    with pytest.raises((InvalidDocument, Corrupt)):
        store.layers.apply_blob(blob, expected=Digest.of(DATA))
    assert store.layers.list() == []


def test_compression_is_told_by_the_first_bytes_and_bounded() -> None:
    import bz2
    import lzma

    for packed in (bz2.compress(DATA), bz2.compress(DATA[:600]) + bz2.compress(DATA[600:]), lzma.compress(DATA), DATA):
        with uncompressed(io.BytesIO(packed)) as stream:
            assert stream.read() == DATA
    huge = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    with pytest.raises(InvalidDocument), uncompressed(io.BytesIO(lzma.compress(DATA, filters=huge))) as stream:
        stream.read()


def test_a_bomb_is_read_in_pieces() -> None:
    with uncompressed(io.BytesIO(gzip.compress(bytes(1 << 26)))) as stream:
        sizes = [len(piece) for piece in iter(lambda: stream.read(1 << 20), b"")]
    assert sum(sizes) == 1 << 26
    assert max(sizes) == 1 << 20


@pytest.mark.parametrize("way", ["blob", "stream", "tar"])
def test_a_bomb_is_cut_where_the_user_says(store: Store, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    data = header(b"f", data=bytes(4 << 20)) + END
    packed = gzip.compress(data)
    blob = Descriptor(media_type=LAYER_GZIP, digest=Digest.of(packed), size=len(packed))

    def apply() -> None:
        if way == "tar":
            store.layers.apply(io.BytesIO(data))
        elif way == "stream":
            store.layers.apply_stream(io.BytesIO(packed), blob, expected=Digest.of(data))
        else:
            store.content.write(packed)
            store.layers.apply_blob(blob, expected=Digest.of(data))

    monkeypatch.setenv("NBC_MAX_LAYER", "3M")
    with pytest.raises(InvalidDocument, match=r"^the layer is larger than the 3M that NBC_MAX_LAYER allows$") as caught:
        apply()
    assert "set NBC_MAX_LAYER higher" in caught.value.hint
    assert store.layers.list() == []
    assert os.listdir(store.root / "layers") == os.listdir(store.disk.staging) == []
    assert [digest for digest, _size in store.content.list()] == ([blob.digest] if way == "blob" else [])
    monkeypatch.setenv("NBC_MAX_LAYER", "5m")
    apply()
    assert [layer.size for layer in store.layers.list()] == [len(data)]


@pytest.mark.parametrize("text", ["much", "-1", "1.5g", "3 m", "\u0663m", "9" * 13])
def test_a_bound_that_is_no_size_is_told(store: Store, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NBC_MAX_LAYER", text)
    with pytest.raises(InvalidArgument, match=r"NBC_MAX_LAYER is .*, which is no size") as caught:
        store.layers.apply(io.BytesIO(DATA))
    assert "512m" in caught.value.hint
    assert store.layers.list() == []


def test_a_missing_layer_is_named(store: Store) -> None:
    with pytest.raises(StoreError, match="not in the store"):
        store.layers.get(Digest.of(b"nothing"))
    store.layers.remove(Digest.of(b"nothing"))


def test_remove_takes_tree_and_record(store: Store) -> None:
    layer = store.layers.apply(io.BytesIO(DATA))
    store.layers.remove(layer.diff_id)
    assert not store.layers.has(layer.diff_id)
    assert not layer.tree.parent.exists()
    assert store.content.has(layer.blob.digest)


def test_two_threads_and_two_processes_make_one_copy(store: Store, run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    code = (
        "import sys, io, pathlib; from notebook_containers.store.store import Store\n"
        "with Store.open(pathlib.Path(sys.argv[1])) as s: s.layers.apply(open(sys.argv[2], 'rb'))"
    )
    path = store.root.parent / "t.tar"
    path.write_bytes(DATA)
    results: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: results.append(run_python(code, store.root, path))) for _ in range(2)]
    threads += [threading.Thread(target=lambda: store.layers.apply(io.BytesIO(DATA))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.returncode for r in results] == [0, 0], results
    assert [layer.diff_id for layer in store.layers.list()] == [Digest.of(DATA)]
    assert os.listdir(store.root / "layers") == [Digest.of(DATA).hex]


@LOOKS_INSIDE
@pytest.mark.parametrize("point", ["before_sync", "before_rename", "before_record", "after_record"])
def test_killed_while_publishing(root: Path, run_python: Callable[..., subprocess.CompletedProcess[str]], point: str) -> None:
    code = (
        "import sys, io, pathlib; from notebook_containers.store.store import Store\n"
        "s = Store.open(pathlib.Path(sys.argv[1])); s.layers.apply(open(sys.argv[2], 'rb'))"
    )
    path = root.parent / "t.tar"
    path.write_bytes(DATA)
    assert run_python(code, root, path, failpoints=f"layers.publish.{point}=kill9").returncode == -9
    with Store.open(root) as store:
        assert store.layers.has(Digest.of(DATA)) == (point == "after_record")
        layer = store.layers.apply(io.BytesIO(DATA))
        assert (layer.tree / "d/f").read_bytes() == b"hello"


def test_a_failing_disk_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(root) as store:
        monkeypatch.setenv("NBC_FAILPOINTS", "layers.publish.before_rename=error(ENOSPC)")
        with pytest.raises(StoreError, match="no space"):
            store.layers.apply(io.BytesIO(DATA))
        monkeypatch.delenv("NBC_FAILPOINTS")
        assert store.layers.list() == []
        assert os.listdir(store.root / "layers") == []


def test_gnu_tars_and_pythons_archives(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / ("x" * 120)).mkdir(parents=True)
    (source / ("x" * 120) / "f").write_bytes(os.urandom(3_000_000))
    os.link(source / ("x" * 120) / "f", source / "hard")
    (source / "link").symlink_to("y" * 200)
    for index, arguments in enumerate((["--format=gnu"], ["--format=pax"], ["--format=pax", "--xattrs"])):
        subprocess.run(["tar", *arguments, "-C", source, "-cf", tmp_path / f"{index}.tar", "."], check=True)
    with tarfile.open(tmp_path / "3.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(source, ".")
    for index in range(4):
        with open(tmp_path / f"{index}.tar", "rb") as stream:
            tree = store.layers.apply(stream).tree
        assert subprocess.run(["diff", "-r", "--no-dereference", source, tree], capture_output=True, check=False).stdout == b""
        assert (tree / "hard").stat().st_nlink == 2


def test_a_pump_keeps_order_and_carries_failures() -> None:
    taken: list[bytes] = []
    with Pump(taken.append) as pump:
        for number in range(100):
            pump.put(b"%d" % number)
    assert taken == [b"%d" % number for number in range(100)]

    def fail(_piece: bytes) -> None:
        raise OSError(28, "full")

    with pytest.raises(OSError, match="full"), Pump(fail) as pump:
        pump.put(b"x")
    with pytest.raises(ValueError, match="mine"), Pump(taken.append) as pump:
        raise ValueError("mine")

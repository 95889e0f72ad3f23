from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notebook_containers.errors import Corrupt, DiskFull, StoreError
from notebook_containers.oci.image import Digest
from notebook_containers.store.store import Store

ABSENT = Digest("sha256:" + "0" * 64)


@contextmanager
def umask(value: int) -> Iterator[None]:
    old = os.umask(value)
    try:
        yield
    finally:
        os.umask(old)


def write_chunks(store: Store, chunks: Iterable[bytes], *, size: int | None = None, taken: list[int] | None = None) -> None:
    with store.content.writer(size=size) as blob:
        for chunk in chunks:
            count = blob.write(chunk)
            if taken is not None:
                taken.append(count)


def source() -> Iterator[bytes]:
    """A connection that breaks."""
    yield b"half"
    raise ConnectionResetError


def visible(store: Store) -> list[Digest]:
    return sorted(digest for digest, _size in store.content.list())


def test_what_is_written_is_read_back(store: Store) -> None:
    digest = store.content.write(b"hello")
    assert digest == Digest.of(b"hello")
    assert store.content.write(b"hello") == digest
    assert store.content.has(digest)
    assert store.content.size(digest) == 5
    assert store.content.read(digest) == b"hello"
    assert list(store.content.list()) == [(digest, 5)]
    with store.content.open(digest) as file:
        assert file.read() == b"hello"
    store.content.remove(digest)
    store.content.remove(digest)
    assert not store.content.has(digest)
    assert list(store.disk.trash.iterdir()) == []


def test_a_missing_blob_is_named(store: Store) -> None:
    for use in (store.content.read, store.content.open, store.content.size):
        with pytest.raises(StoreError, match=ABSENT):
            use(ABSENT)


def test_sha512_is_checked_with_sha512(store: Store) -> None:
    expected = Digest("sha512:" + hashlib.sha512(b"long").hexdigest())
    with store.content.writer(expected=expected) as blob:
        blob.write(b"lo")
        blob.write(b"ng")
    assert (blob.digest, blob.size) == (expected, 4)
    assert store.content.read(expected) == b"long"


@pytest.mark.parametrize(("data", "size"), [(b"hellp", 5), (b"hello!", 5), (b"hell", 5), (b"", None), (b"hell", None)])
def test_a_lying_source_leaves_nothing(store: Store, data: bytes, size: int | None) -> None:
    with pytest.raises(Corrupt), store.content.writer(expected=Digest.of(b"hello"), size=size) as blob:
        blob.write(data)
    assert visible(store) == []
    assert list(store.disk.staging.iterdir()) == []


def test_too_long_a_body_is_stopped_at_once(store: Store) -> None:
    taken: list[int] = []
    with pytest.raises(Corrupt, match="longer than the 10 bytes"):
        write_chunks(store, [b"x" * 6, b"x" * 5, b"x"], size=10, taken=taken)
    assert taken == [6]
    assert visible(store) == []


def test_an_error_of_the_caller_passes_unchanged_and_leaves_nothing(store: Store) -> None:
    with pytest.raises(ConnectionResetError):
        write_chunks(store, source())
    assert visible(store) == []
    assert list(store.disk.staging.iterdir()) == []


def test_changed_bytes_are_noticed_when_read(store: Store) -> None:
    digest = store.content.write(b"hello")
    store.content.path(digest).write_bytes(b"jello")
    with pytest.raises(Corrupt, match=digest):
        store.content.read(digest)


def test_a_cut_off_blob_is_replaced_when_written_again(store: Store) -> None:
    digest = store.content.write(b"hello")
    store.content.path(digest).write_bytes(b"hel")
    store.content.write(b"hello")
    assert store.content.read(digest) == b"hello"


def test_a_large_blob_is_not_read_into_memory(store: Store) -> None:
    digest = store.content.write(b"x" * 1000)
    with pytest.raises(StoreError, match="more than the 999 bytes"):
        store.content.read(digest, max_bytes=999)


@pytest.mark.parametrize("mask", [0o000, 0o277])
def test_nobody_else_reads_the_store_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    root = tmp_path / "a" / "store"
    with umask(mask), Store.open(root) as store:
        digest = store.content.write(b"secret")
        assert store.content.path(digest).stat().st_mode & 0o777 == 0o600
        assert (root / "nbc.db").stat().st_mode & 0o777 == 0o600
        assert root.stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)
        inner = [path for path in root.iterdir() if path.is_dir()]
        assert len(inner) >= 7
        assert {path.stat().st_mode & 0o777 for path in inner} == {0o700}


def test_many_writers_of_one_blob_make_one(store: Store) -> None:
    data = os.urandom(300_000)
    threads = [threading.Thread(target=store.content.write, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(store.content.list()) == [(Digest.of(data), len(data))]
    assert list(store.disk.staging.iterdir()) == []


def test_strange_names_among_the_blobs_are_passed_over(store: Store) -> None:
    (store.root / "blobs" / "sha256" / "not-a-digest").write_bytes(b"")
    assert visible(store) == []


@pytest.mark.parametrize("point", ["content.write.before_fsync", "content.write.after_fsync", "disk.publish.before_rename"])
@pytest.mark.parametrize("number", ["ENOSPC", "EDQUOT"])
def test_a_full_disk_is_named_and_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch, point: str, number: str) -> None:
    monkeypatch.setenv("NBC_FAILPOINTS", f"{point}=error({number})")
    with pytest.raises(DiskFull, match=f"no space left for {store.root}") as caught:
        store.content.write(b"hello")
    monkeypatch.delenv("NBC_FAILPOINTS")
    assert "prune" in caught.value.hint
    assert visible(store) == []
    assert list(store.disk.staging.iterdir()) == []

"""Writing to the disk beside the work, and packing beside unpacking: failures of either side are seen, and nobody waits for ever."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from notebook_containers.errors import DiskFull, StoreError
from notebook_containers.linux import syscalls
from notebook_containers.store import flushing
from notebook_containers.store.flushing import Flushing
from notebook_containers.store.pump import Written


def test_the_disk_is_written_each_step_and_an_error_is_told_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "_STEP_BYTES", 10)
    seen, begun = list[int](), threading.Event()

    def refuse(_fd: int) -> None:
        seen.append(1)
        begun.set()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(syscalls, "syncfs", refuse)
    with Flushing(tmp_path) as small:
        small.after(lambda _piece: None)(b"123456789")
    assert seen == [], "what is small waits for the sync at its end"
    taken: list[bytes] = []
    with pytest.raises(DiskFull), Flushing(tmp_path) as some:  # noqa: PT012
        take = some.after(taken.append)
        take(b"1234567890")
        assert begun.wait(30)
        take(b"rest")
    assert (seen, taken) == ([1], [b"1234567890", b"rest"])


def test_an_error_of_the_work_is_the_one_that_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "_STEP_BYTES", 1)
    monkeypatch.setattr(syscalls, "syncfs", lambda _fd: (_ for _ in ()).throw(OSError(errno.EIO, "io")))
    with pytest.raises(StoreError, match="of the work"), Flushing(tmp_path) as some:  # noqa: PT012
        some.after(lambda _piece: None)(b"1")
        raise StoreError("of the work")


def test_what_is_written_is_read_in_order_and_a_failure_is_raised() -> None:
    with Written(lambda write: [write(piece) for piece in (b"abc", b"", b"defg")]) as stream:
        assert [stream.read(2) for _ in range(6)] == [b"ab", b"c", b"de", b"fg", b"", b""]

    def fail(write: object) -> None:
        assert callable(write)
        write(b"x")
        raise StoreError("cannot pack")

    with Written(fail) as stream:
        assert stream.read(10) == b"x"
        with pytest.raises(StoreError, match="cannot pack"):
            stream.read(10)


def test_who_stops_reading_ends_who_writes() -> None:
    written: list[int] = []

    def endless(write: object) -> None:
        assert callable(write)
        while True:
            write(b"x" * 10)
            written.append(1)

    with Written(endless) as stream:
        assert stream.read(1) == b"x"
    count = len(written)
    assert count < 20
    assert len(written) == count, "the thread has ended"

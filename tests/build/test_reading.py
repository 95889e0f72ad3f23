"""COPY reads each file of the context once for each change, as the kernel counts it; and what is held in between is what was digested."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path

import pytest

from notebook_containers.build.progress import Warned
from notebook_containers.linux.inotify import entries
from notebook_containers.store.held import Held
from tests.build.conftest import Builder

_IN_OPEN, _IN_CLOSE = 0x20, 0x10


@contextmanager
def opened(*directories: Path) -> Iterator[Counter[str]]:
    """Count how often the block's work opens each file in directories."""
    watches = [entries(str(directory), _IN_OPEN | _IN_CLOSE) for directory in directories]
    found: Counter[str] = Counter()
    try:
        yield found
        for fd in watches:
            found.update(_opened(os.read(fd, 1 << 20)))
    finally:
        for fd in watches:
            os.close(fd)


def _opened(data: bytes) -> Iterator[str]:
    at = 0
    while at < len(data):
        _watch, mask, _cookie, length = struct.unpack_from("iIII", data, at)
        name = data[at + 16 : at + 16 + length].rstrip(b"\0").decode()
        if name and mask & _IN_OPEN and not mask & 0x40000000:  # not a directory
            yield name
        at += 16 + length


def fill(context: Path) -> Path:
    (context / "sub").mkdir()
    (context / "a").write_text("a")
    (context / "sub/b").write_bytes(os.urandom(3 << 20))
    (context / "sub/empty").touch()
    (context / "run.sh").write_text("#!/bin/sh\n")
    (context / "run.sh").chmod(0o751)
    os.utime(context / "a", ns=(1_000_000_000_123_456_789,) * 2)
    return context


@pytest.mark.parametrize("text", ["FROM base\nCOPY . /srv\n", "FROM base\nCOPY . /\n", "FROM scratch\nCOPY sub /sub\nCOPY a run.sh /\n"])
def test_each_file_is_opened_once_and_then_the_changed_one_once(builder: Builder, text: str) -> None:
    context = fill(builder.context)
    with opened(context, context / "sub") as first:
        result = builder(text)
    assert first == {"a": 1, "b": 1, "empty": 1, "run.sh": 1}
    place = "srv/" if "/srv" in text else ""
    assert builder.read(result, f"{place}a") == "a"
    if place:
        tree = builder.tree(result)
        assert {name: tree[f"srv/{name}"].mode & 0o777 for name in ("a", "run.sh")} == {"a": 0o644, "run.sh": 0o751}
        assert tree["srv/a"].mtime == pytest.approx(1_000_000_000.123456789, abs=1e-6)
        assert tree["srv/sub/b"].size == 3 << 20
    (context / "a").write_text("changed")
    with opened(context) as second:
        result = builder(text)
    assert second["a"] == 1
    assert builder.read(result, f"{place}a") == "changed"


def test_the_same_file_is_read_once_for_all_instructions(builder: Builder) -> None:
    context = fill(builder.context)
    with opened(context) as found:
        builder("FROM base\nCOPY a /one\nCOPY . /all\nCOPY --chown=3:4 a /two\n")
    assert found["a"] == 1


def test_attributes_and_owners_are_copied_from_what_is_held(builder: Builder) -> None:
    context = fill(builder.context)
    os.setxattr(context / "a", "user.note", b"kept")
    with opened(context) as found:
        result = builder("FROM base\nCOPY --chown=3:4 --chmod=u=rw,go= . /srv\n")
    assert found["a"] == 1
    entry = builder.tree(result)["srv/a"]
    assert (entry.uid, entry.gid, entry.mode & 0o777) == (3, 4, 0o600)
    assert entry.pax_headers["SCHILY.xattr.user.note"] == "kept"


def test_what_changes_while_it_is_digested_is_told_and_not_cached(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer has the content that was digested, never a mixture; the step is done again next time."""
    context = fill(builder.context)
    begin = Held.room

    def edited(held: Held, path: str, size: int) -> bool:
        found = begin(held, path, size)
        if path == "a" and not (context / "done").exists():
            (context / "done").touch()
            (context / "a").write_text("edited meanwhile")
        return found

    monkeypatch.setattr(Held, "room", edited)
    result = builder("FROM base\nCOPY . /srv\n")
    assert [e.line for e in builder.events if isinstance(e, Warned)] == [2]
    monkeypatch.undo()
    again = builder("FROM base\nCOPY . /srv\n")
    assert again.steps[-1].status == "built"
    assert builder.read(again, "srv/a") == "edited meanwhile"
    assert builder.read(result, "srv/a") == "edited meanwhile"


def test_no_more_is_held_than_there_is_room_for(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    context = fill(builder.context)
    monkeypatch.setattr(Held, "__init__", partialmethod(Held.__init__, 2 << 20))
    with opened(context, context / "sub") as found:
        result = builder("FROM base\nCOPY . /srv\n")
    assert found == {"a": 1, "b": 2, "empty": 1, "run.sh": 1}
    assert builder.tree(result)["srv/sub/b"].size == 3 << 20

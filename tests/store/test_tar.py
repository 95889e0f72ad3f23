"""The archive reader and writer against hand-made headers, Python's tarfile and GNU tar."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from notebook_containers.errors import DiskFull, InvalidDocument
from notebook_containers.store.tar_reader import Entry, Limits, TarReader
from notebook_containers.store.tar_writer import TarWriter
from tests.store.raw_tar import END, base256, header, long_name, pax


def entries(data: bytes, limits: Limits | None = None) -> list[tuple[Entry, bytes]]:
    reader = TarReader(io.BytesIO(data), limits=limits)
    result = []
    for entry in reader:
        content: list[bytes] = []
        reader.copy_data(lambda piece: content.append(bytes(piece)))  # noqa: B023 - used at once
        result.append((entry, b"".join(content)))
    return result


def one(data: bytes) -> Entry:
    (found,) = entries(data + END)
    return found[0]


def written(*members: tuple[Entry, bytes]) -> bytes:
    out: list[bytes] = []
    writer = TarWriter(out.append)
    for entry, data in members:
        writer.add(entry)
        writer.data(data)
        writer.pad(len(data))
    writer.close()
    return b"".join(out)


def test_data_and_fields() -> None:
    data = header(b"a", data=b"hello", mode=b"0004755\0", uid=b"0001750\0", mtime=b"00000000017\0") + header(b"b/", b"5") + END
    (first, content), (second, nothing) = entries(data)
    assert (first.name, first.kind, first.mode, first.uid, first.size, first.mtime_ns) == ("a", "f", 0o4755, 1000, 5, 15 * 10**9)
    assert content == b"hello"
    assert (second.name, second.kind, nothing) == ("b/", "d", b"")


def test_skipped_data_is_skipped() -> None:
    names = [entry.name for entry in TarReader(io.BytesIO(header(b"a", data=bytes(3000)) + header(b"b", data=b"x") + END))]
    assert names == ["a", "b"]


def test_everything_is_read_to_the_end_of_the_stream() -> None:
    stream = io.BytesIO(header(b"a") + END + b"junk" * 1000)
    assert len(list(TarReader(stream))) == 1
    assert stream.read() == b""


def test_a_missing_end_marker_is_fine() -> None:
    assert [e.name for e, _ in entries(header(b"a", data=b"x"))] == ["a"]
    assert entries(b"") == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header(b"a", data=b"hello")[:-300], "in the middle"),
        (header(b"a")[:300], "in the middle"),
        (header(b"a", checksum=b"000000\0 "), "checksum"),
        (b"\x1f\x8b" + bytes(600), "checksum"),
        (header(b"a", size=base256(-1, 12)), "negative size"),
        (header(b"a", size=b"99999999999\0"), "size is no number"),
        (header(b"a", uid=base256(2**32, 8)), "no user and group ids"),
        (header(b"a", uid=base256(-1, 8)), "no user and group ids"),
        (header(b""), "no name"),
        (header(b"a", b"Q"), "unknown type"),
        (header(b"a", b"V"), "unknown type"),
        (header(b"a", b"M"), "unknown type"),
        (header(b"a", b"D"), "unknown type"),
        (header(b"a", b"S"), "sparse"),
        (header(b"a", b"2"), "link to nothing"),
        (header(b"a", b"1"), "link to nothing"),
        (header(b"a", b"3", major=b"0010000\0"), "cannot exist"),
        (header(b"a", b"4", minor=base256(2**20, 8)), "cannot exist"),
        (header(b"a", b"4", minor=base256(-1, 8)), "cannot exist"),
        (pax((b"GNU.sparse.major", b"1")) + header(b"a"), "sparse"),
        (pax((b"path", b"a\0b")) + header(b"a"), "NUL"),
        (pax((b"linkpath", b"a\0b")) + header(b"a", b"2", link=b"x"), "NUL"),
        (pax((b"size", b"-1")) + header(b"a"), "negative size"),
        (pax((b"size", b"1.5")) + header(b"a"), "no number"),
        (pax((b"uid", b"abc")) + header(b"a"), "no number"),
        (pax((b"mtime", b"soon")) + header(b"a"), "no time"),
        (pax((b"path", b"b"), kind=b"g") + header(b"a"), "global header"),
        (pax((b"size", b"5"), kind=b"g") + header(b"a"), "global header"),
        (header(b"p", b"x", data=b"5 a=b\n") + header(b"a"), "malformed"),
        (header(b"p", b"x", data=b"99 a=b\n") + header(b"a"), "malformed"),
        (header(b"p", b"x", data=b"a=b\n") + header(b"a"), "malformed"),
        (header(b"p", b"x", data=b"0 a=b\n") + header(b"a"), "malformed"),
        (header(b"p", b"x", data=b"5 =b\n") + header(b"a"), "malformed"),
        (header(b"p", b"x", size=b"%011o\0" % (1 << 21)), "extended header of 2097152"),
        (header(b"p", b"L", size=b"%011o\0" % (1 << 21)), "extended header of 2097152"),
        (long_name(b"x" * 5000) + header(b"a"), "longer than 4095"),
        (pax((b"linkpath", b"x" * 5000)) + header(b"a", b"2", link=b"x"), "longer than 4095"),
        (pax((b"path", b"b")), "after an extended header"),
    ],
)
def test_bad_archives_are_named(data: bytes, message: str) -> None:
    with pytest.raises(InvalidDocument, match=message):
        entries(data + (END if len(data) % 512 == 0 else b""))


def test_long_names_and_their_precedence() -> None:
    name = b"d/" + b"n" * 200
    assert one(long_name(name) + header(b"short")).name == name.decode()
    assert one(pax((b"path", name)) + header(b"short")).name == name.decode()
    assert one(pax((b"path", b"pax")) + long_name(b"gnu") + header(b"short")).name == "gnu"
    assert one(header(b"base", prefix=b"some/prefix")).name == "some/prefix/base"
    assert one(header(b"old", magic=b"ustar  \0", prefix=b"not a prefix")).name == "old"
    assert one(long_name(b"t" * 150, b"K") + header(b"a", b"2", link=b"x")).link == "t" * 150


def test_an_extended_header_is_for_one_entry_only() -> None:
    names = [e.name for e, _ in entries(pax((b"path", b"first")) + header(b"x") + header(b"second") + END)]
    assert names == ["first", "second"]


def test_extended_fields() -> None:
    entry = one(pax((b"mtime", b"-1.25"), (b"uid", b"3000000"), (b"SCHILY.xattr.user.k", b"a=b\nc\0")) + header(b"a"))
    assert (entry.mtime_ns, entry.uid, entry.xattrs) == (-1_250_000_000, 3_000_000, {"user.k": b"a=b\nc\0"})
    assert one(pax((b"mtime", b"1.5")) + header(b"a")).mtime_ns == 1_500_000_000
    assert one(header(b"a", mtime=base256(-5, 12))).mtime_ns == -5 * 10**9
    assert abs(one(header(b"a", mtime=base256(2**80, 12))).mtime_ns) <= 2**40 * 10**9
    assert one(pax((b"comment", b"x"), kind=b"g") + header(b"a")).name == "a"


def test_data_of_links_and_directories_is_none_whatever_they_say() -> None:
    data = header(b"l", b"2", link=b"x", size=b"00000001000\0") + header(b"d", b"5", size=b"00000001000\0") + header(b"f") + END
    assert [(e.name, e.size) for e, _ in entries(data)] == [("l", 0), ("d", 0), ("f", 0)]


def test_a_file_whose_name_ends_in_a_slash_is_a_directory() -> None:
    assert one(header(b"d/", b"0")).kind == "d"
    assert one(header(b"d/", b"\0")).kind == "d"
    assert one(header(b"c", b"7")).kind == "f"


def test_signed_checksums_of_old_tars() -> None:
    name = b"\xff\xfe"
    plain = header(name)
    signed = int(plain[148:154], 8) - 512
    assert one(header(name, checksum=b"%06o\0 " % signed)).name == "\udcff\udcfe"


def test_limits() -> None:
    with pytest.raises(InvalidDocument, match="more than 2 entries"):
        entries(header(b"a") * 3 + END, Limits(entries=2))
    with pytest.raises(DiskFull, match="10 bytes"):
        entries(header(b"a", data=b"x" * 6) * 2 + END, Limits(total_bytes=10))


def test_what_follows_the_end_is_bounded() -> None:
    with pytest.raises(InvalidDocument, match="more than 1000 bytes follow"):
        entries(header(b"a") + END + bytes(3 << 20), Limits(trailing_bytes=1000))


def test_a_huge_size_does_not_allocate() -> None:
    with pytest.raises(DiskFull):
        entries(header(b"a", size=base256(2**62, 12)))
    with pytest.raises(InvalidDocument, match="in the middle"):
        entries(header(b"a", size=base256(2**40, 12)))


# the writer

FILE = Entry(name="f", kind="f", size=3, mode=0o640, uid=5, gid=6, mtime_ns=7 * 10**9 + 5)


def test_what_is_written_is_read_back() -> None:
    members = [
        (FILE, b"abc"),
        (Entry(name="d", kind="d", mode=0o1777), b""),
        (Entry(name="l" * 300, kind="l", link="t" * 300), b""),
        (Entry(name="\udcff\n", kind="f", mtime_ns=-5 * 10**9, xattrs={"user.a": b"\0\n="}), b""),
        (Entry(name="h", kind="h", link="f"), b""),
        (Entry(name="c", kind="c", device=(5, 1), uid=3_000_000), b""),
        (Entry(name="p", kind="p", mtime_ns=2**40 * 10**9), b""),
        (Entry(name="q", kind="p", mtime_ns=-1), b""),
        (Entry(name="r", kind="p", mtime_ns=10**9 + 500_000_000), b""),
    ]
    back = entries(written(*members))
    assert [data for _, data in back] == [data for _, data in members]
    for (got, _), (meant, _) in zip(back, members, strict=True):
        got.name = got.name.rstrip("/")
        assert got == meant


def test_other_readers_agree(tmp_path: Path) -> None:
    data = written((FILE, b"abc"), (Entry(name="x" * 150, kind="d", mode=0o700), b""), (Entry(name="l", kind="l", link="y" * 150), b""))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [(m.name, m.linkname, m.mode) for m in tar] == [("f", "", 0o640), ("x" * 150, "", 0o700), ("l", "y" * 150, 0o644)]
        file = tar.extractfile("f")
        assert file is not None
        assert file.read() == b"abc"
    (tmp_path / "t.tar").write_bytes(data)
    listed = subprocess.run(["tar", "-tvf", tmp_path / "t.tar"], capture_output=True, text=True, check=True)
    assert listed.stderr == ""
    assert len(listed.stdout.splitlines()) == 3


def test_the_same_entries_give_the_same_bytes() -> None:
    assert written((FILE, b"abc")) == written((FILE, b"abc"))
    one_order = Entry(name="a", kind="f", xattrs={"user.a": b"1", "user.b": b"2"})
    other_order = Entry(name="a", kind="f", xattrs={"user.b": b"2", "user.a": b"1"})
    assert written((one_order, b"")) == written((other_order, b""))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=90, max_size=130))
def test_names_around_the_limit_survive(name: str) -> None:
    entry = Entry(name=name.rstrip("/") or "x", kind="f")
    assert one(written((entry, b""))[:-1024]).name == entry.name


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2048), st.integers(0, 2047), st.binary(min_size=1, max_size=40))
def test_garbage_gives_our_errors_only(noise: bytes, at: int, patch: bytes) -> None:
    good = pax((b"path", b"p"), (b"mtime", b"1.5")) + header(b"a", data=b"x" * 600) + header(b"b", b"2", link=b"a") + END
    for data in (noise, good[:at] + patch + good[at + len(patch) :], good[:at]):
        try:
            entries(data)
        except (InvalidDocument, DiskFull):
            pass

"""Hostile and odd archives (the attack catalogue's TAR cases): refused with nothing left, or made harmless; outside nothing changes."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers.errors import InvalidDocument
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store.store import Store
from notebook_containers.store.tar_reader import TarReader
from notebook_containers.store.unpack import Rules, Unpacked, unpack
from tests.store.raw_tar import END, base256, header, long_name, pax

pytestmark = pytest.mark.root  # whiteouts, owners and devices are made for real

DEEP = "/".join(["d" * 200] * 18)
LAYER = Rules(layer=True, single_id=False)
ORDINARY = Rules(layer=True, single_id=True, userxattr=True)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory beside the tree which must be the same afterwards."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("canary")
    before = facts(outside), facts(outside / "f")
    yield outside
    assert (facts(outside), facts(outside / "f")) == before
    assert (outside / "f").read_text() == "canary"
    assert os.listdir(outside) == ["f"]


def facts(path: Path) -> tuple[int, ...]:
    status = path.lstat()
    return status.st_mode, status.st_ino, status.st_nlink, status.st_mtime_ns, status.st_uid, status.st_ctime_ns


@pytest.fixture
def tree(tmp_path: Path, canary: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def extract(tree: Path, data: bytes, rules: Rules = LAYER) -> Unpacked:
    with SafeRoot.at(tree) as root:
        return unpack(TarReader(io.BytesIO(data + END)), root, rules)


def listing(tree: Path) -> list[str]:
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Path, name: str = "trusted.overlay.opaque") -> bool:
    return name in os.listxattr(path) and os.getxattr(path, name) == b"y"


def link(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target)


def hard(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def folder(name: bytes, mode: bytes = b"0000755\0") -> bytes:
    return header(name, b"5", mode=mode)


REFUSED = {
    "dotdot": header(b"../x"),
    "dotdot later": header(b"a/../../x"),
    "dotdot that stays": header(b"a/../x"),
    "only dotdot": header(b".."),
    "dotdot in pax": pax((b"path", b"../../outside/f")) + header(b"ok", data=b"evil"),
    "dotdot in a long name": long_name(b"../" * 40 + b"x") + header(b"ok"),
    "long component": pax((b"path", b"n" * 256)) + header(b"x"),
    "long path": pax((b"path", b"d/" * 3000 + b"x")) + header(b"x"),
    "through a relative link": link(b"l", b"../outside") + header(b"l/f", data=b"evil"),
    "through an absolute link": link(b"l", b"@OUTSIDE@") + header(b"l/f", data=b"evil"),
    "through a link inside": folder(b"real") + link(b"l", b"real") + header(b"l/f", data=b"evil"),
    "through a chain of links": b"".join(link(b"l%d" % n, b"l%d" % (n + 1)) for n in range(41)) + header(b"l0/f"),
    "through a loop": link(b"a", b"b") + link(b"b", b"a") + header(b"a/f"),
    "through /proc": link(b"l", b"/proc/self/cwd") + header(b"l/f"),
    "through a deep link": folder(DEEP.encode()[:99]) + link(b"l", b"../" * 10 + b"outside") + header(b"l/f"),
    "directory through a link": link(b"l", b"@OUTSIDE@") + folder(b"l/sub/"),
    "link through a link": link(b"l", b"@OUTSIDE@") + link(b"l/s", b"x"),
    "fifo through a link": link(b"l", b"@OUTSIDE@") + header(b"l/p", b"6"),
    "device through a link": link(b"l", b"@OUTSIDE@") + header(b"l/p", b"3", major=b"0000001\0", minor=b"0000003\0"),
    "below a file": header(b"f", data=b"x") + header(b"f/g", data=b"y"),
    "hard link out": hard(b"h", b"../outside/f"),
    "hard link to an absolute path": hard(b"h", b"@OUTSIDE@/f"),
    "hard link through a link": link(b"l", b"@OUTSIDE@") + hard(b"h", b"l/f"),
    "hard link into a link": header(b"f") + link(b"l", b"@OUTSIDE@") + hard(b"l/h", b"f"),
    "hard link to a later entry": hard(b"h", b"later") + header(b"later"),
    "hard link to a directory": folder(b"d") + hard(b"h", b"d"),
    "hard link to a deletion": header(b".wh.x") + hard(b"h", b"x"),
    "hard link to itself": header(b"h") + hard(b"h", b"./h"),
    "hard link to the root": hard(b"h", b"/"),
    "deletion of nothing": header(b".wh."),
    "deletion of dot": header(b".wh.."),
    "deletion of dotdot": header(b".wh..."),
    "deletion above": header(b"../.wh.x"),
    "deletion through a link": link(b"a", b"@OUTSIDE@") + header(b"a/.wh.f"),
    "opaque through a link": link(b"a", b"@OUTSIDE@") + header(b"a/.wh..wh..opq"),
    "below a deletion": header(b".wh.x/y"),
    "the root as a file": header(b"./", b"6"),
    "attributes too large": pax((b"SCHILY.xattr.user.big", b"x" * 70_000)) + header(b"f"),
    "a capability that is none": pax((b"SCHILY.xattr.security.capability", b"nonsense")) + header(b"f"),
}


ONLY_ROOT_MAKES = ("device through a link", "a capability that is none")


@pytest.mark.parametrize(
    ("name", "rules"), [(name, LAYER) for name in REFUSED] + [(name, ORDINARY) for name in REFUSED if name not in ONLY_ROOT_MAKES]
)
def test_refused(tree: Path, canary: Path, name: str, rules: Rules) -> None:
    data = REFUSED[name]
    if b"@OUTSIDE@" in data:
        data = with_target(data, os.fsencode(canary))
    with pytest.raises(InvalidDocument):
        extract(tree, data, rules)


def with_target(data: bytes, target: bytes) -> bytes:
    """Put a real path where a header's link says @OUTSIDE@, and make the checksum right again."""
    out = b""
    for at in range(0, len(data), 512):
        piece = data[at : at + 512]
        if b"@OUTSIDE@" in piece[157:257]:
            text = piece[157:257].replace(b"@OUTSIDE@", target)[:100].ljust(100, b"\0")
            assert text[99] == 0
            piece = piece[:148] + b" " * 8 + piece[156:157] + text + piece[257:]
            piece = piece[:148] + b"%06o\0 " % sum(piece) + piece[156:]
        out += piece
    return out


@pytest.mark.parametrize("name", ["dotdot", "through an absolute link", "attributes too large"])
def test_of_a_refused_layer_nothing_is_left(tmp_path: Path, canary: Path, name: str) -> None:
    with Store.open(tmp_path / "root") as store:
        first = header(b"good", data=b"x" * 100_000)
        with pytest.raises(InvalidDocument):
            store.layers.apply(io.BytesIO(first + with_target(REFUSED[name], os.fsencode(canary)) + END))
        assert store.layers.list() == []
        assert list(store.content.list()) == []
        assert os.listdir(store.root / "layers") == []
        assert [p for p in store.disk.staging.iterdir() if not p.name.endswith(".lock")] == []
        assert list(store.disk.trash.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"/abs", "abs"),
        (b"//abs//x", "abs/x"),
        (b"./x", "x"),
        (b"a\\b", "a\\b"),
        (b"..a/...", "..a/..."),
        (b"new\nline", "new\nline"),
        (b"\xff\xfe", "\udcff\udcfe"),
        (b"\x1b[31mred", "\x1b[31mred"),
        (b"-rf", "-rf"),
        (b"n" * 99, "n" * 99),
    ],
)
def test_names_are_kept_byte_for_byte_inside_the_root(tree: Path, name: bytes, expected: str) -> None:
    extract(tree, header(name, data=b"x"))
    assert (tree / expected).read_bytes() == b"x"


def test_what_is_missing_above_is_made(tree: Path) -> None:
    extract(tree, header(b"a/b/c", data=b"x"))
    assert stat.S_IMODE((tree / "a/b").stat().st_mode) == 0o755


def test_modes_owners_times_and_links(tree: Path) -> None:
    data = folder(b"d", b"0001700\0") + header(
        b"d/f", data=b"x", mode=b"0004751\0", uid=b"0001750\0", gid=b"0000144\0", mtime=b"00000000144\0"
    )
    data += link(b"d/l", b"../../anything") + hard(b"d/h", b"d/f") + header(b"d/p", b"6", mode=b"0000622\0")
    extract(tree, data + header(b"d", b"5", mode=b"0000511\0", mtime=b"00000000310\0"))
    status = (tree / "d/f").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime) == (0o4751, 1000, 100, 100)
    assert os.readlink(tree / "d/l") == "../../anything"
    assert (tree / "d/h").stat().st_ino == status.st_ino
    assert stat.S_ISFIFO((tree / "d/p").stat().st_mode)
    assert stat.S_IMODE((tree / "d/p").stat().st_mode) == 0o622
    assert (tree / "d").stat().st_mtime == 200  # set last, after its children came
    assert stat.S_IMODE((tree / "d").stat().st_mode) == 0o511


def test_the_archives_root_entry_is_reported(tree: Path) -> None:
    assert extract(tree, header(b"./", b"5", mode=b"0001777\0", uid=b"0000005\0")).root == (0o1777, 5, 0)
    assert stat.S_IMODE(tree.stat().st_mode) == 0o1777


def test_mode_bits_beyond_those_of_files_are_dropped(tree: Path) -> None:
    extract(tree, header(b"f", mode=b"0177777\0"))
    assert stat.S_IMODE((tree / "f").stat().st_mode) == 0o7777


def test_children_of_a_closed_directory(tree: Path) -> None:
    extract(tree, folder(b"d", b"0000000\0") + header(b"d/f", data=b"x"), ORDINARY)
    assert (tree / "d/f").read_bytes() == b"x"
    assert stat.S_IMODE((tree / "d").stat().st_mode) == 0o500


# duplicates: the last one counts


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (header(b"x", data=b"1") + header(b"x", data=b"2"), ["x"]),
        (header(b"x", data=b"1") + folder(b"x") + header(b"x/y"), ["x", "x/y"]),
        (folder(b"x") + header(b"x/y") + folder(b"x/z") + header(b"x", data=b"2"), ["x"]),
        (link(b"x", b"../outside") + folder(b"x") + header(b"x/y"), ["x", "x/y"]),
        (link(b"x", b"../outside/f") + header(b"x", data=b"2"), ["x"]),
        (folder(b"x") + header(b"x/y") + link(b"x", b"../outside"), ["x"]),
        (header(b"x") + header(b"y") + hard(b"y", b"x"), ["x", "y"]),
        (folder(b"x") + header(b"x/y") + folder(b"x"), ["x", "x/y"]),
    ],
)
def test_a_later_entry_takes_the_place_of_an_earlier_one(tree: Path, data: bytes, expected: list[str]) -> None:
    extract(tree, data)
    assert listing(tree) == expected


def test_a_hard_link_to_a_symbolic_link_does_not_follow_it(tree: Path, canary: Path) -> None:
    extract(tree, with_target(link(b"l", b"@OUTSIDE@/f") + hard(b"h", b"l"), os.fsencode(canary)))
    assert (tree / "h").is_symlink()


# deletions


@pytest.mark.parametrize(("rules", "name"), [(LAYER, "trusted.overlay.opaque"), (ORDINARY, "user.overlay.opaque")])
def test_deletions_become_overlays_form(tree: Path, rules: Rules, name: str) -> None:
    extract(
        tree, folder(b"d") + header(b"d/a") + header(b"d/.wh..wh..opq") + header(b"d/.wh.gone", data=b"ignored") + header(b".wh.top"), rules
    )
    assert is_opaque(tree / "d", name)
    assert is_whiteout(tree / "d/gone")
    assert is_whiteout(tree / "top")
    assert (tree / "d/a").is_file()


def test_whatever_type_a_deletion_has(tree: Path) -> None:
    extract(tree, header(b".wh.a", b"5") + link(b".wh.b", b"x") + hard(b".wh.c", b"x") + header(b".wh.d", b"6"))
    assert all(is_whiteout(tree / name) for name in "abcd")


def test_a_name_deleted_below_and_made_here(tree: Path) -> None:
    extract(
        tree, header(b".wh.f") + header(b"f", data=b"x") + header(b"g", data=b"y") + header(b".wh.g") + header(b".wh.d") + header(b"d/x")
    )
    assert (tree / "f").read_bytes() == b"x"
    assert (tree / "g").read_bytes() == b"y"
    assert is_opaque(tree / "d")


@pytest.mark.parametrize("data", [header(b".wh.d") + folder(b"d"), folder(b"d") + header(b".wh.d")])
def test_a_directory_deleted_below_and_made_here_hides_what_was_in_it(tree: Path, data: bytes) -> None:
    extract(tree, data)
    assert is_opaque(tree / "d")


def test_opaque_root(tree: Path) -> None:
    extract(tree, header(b"a") + header(b".wh..wh..opq"))
    assert is_opaque(tree)


def test_aufs_own_files_are_passed_over(tree: Path) -> None:
    extract(tree, header(b".wh..wh.aufs") + folder(b".wh..wh.plnk") + header(b".wh..wh.plnk/1.2", data=b"x") + header(b"a"))
    assert listing(tree) == ["a"]


def test_overlays_raw_forms_are_not_taken(tree: Path) -> None:
    forms = [b"trusted.overlay.opaque", b"user.overlay.opaque", b"trusted.overlay.redirect", b"user.overlay.metacopy", b"security.selinux"]
    records = [(b"SCHILY.xattr." + form, b"y") for form in forms] + [
        (b"LIBARCHIVE.xattr.user.a", b"eA=="),
        (b"SCHILY.xattr.user.kept", b"v"),
    ]
    result = extract(tree, pax(*records) + folder(b"d") + pax(*records) + header(b"f") + header(b"c", b"3"))
    assert os.listxattr(tree / "f") == ["user.kept"]
    assert os.listxattr(tree / "d") == ["user.kept"]
    assert listing(tree) == ["d", "f"]
    assert "0:0" in result.warnings[0]


def test_file_capabilities_are_kept(tree: Path) -> None:
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    extract(tree, pax((b"SCHILY.xattr.security.capability", value)) + header(b"ping", uid=b"0000005\0"))
    assert os.getxattr(tree / "ping", "security.capability") == value


# what an ordinary user cannot keep is said


def test_an_ordinary_users_warnings(tree: Path) -> None:
    data = header(b"f", uid=b"0000005\0", gid=b"0000006\0") + header(b"null", b"3", major=b"0000001\0", minor=b"0000003\0")
    warnings = extract(tree, data, ORDINARY).warnings
    assert any("null" in text for text in warnings)
    assert any("5:6" in text for text in warnings)
    assert (tree / "f").stat().st_uid == os.getuid()
    assert listing(tree) == ["f"]
    (tree / "f").unlink()
    assert extract(tree, data).warnings == ()
    assert os.minor((tree / "null").stat().st_rdev) == 3


def test_warnings_are_bounded(tree: Path) -> None:
    data = b"".join(header(b"c%d" % n, b"3", major=b"0000001\0") for n in range(100))
    assert len(extract(tree, data, ORDINARY).warnings) <= 20


# adding an archive to a tree that exists


def test_an_added_archive_goes_through_links_inside_the_root_only(tree: Path, canary: Path) -> None:
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "lib").symlink_to("/usr/lib")
    (tree / "out").symlink_to(canary)
    with SafeRoot.at(tree, follow=True) as root:
        data = header(b"lib/a", data=b"x") + header(b".wh.plain") + END
        unpack(TarReader(io.BytesIO(data)), root, Rules(layer=False, single_id=False))
        with pytest.raises((InvalidDocument, OSError)):
            unpack(TarReader(io.BytesIO(header(b"out/a", data=b"x") + END)), root, Rules(layer=False, single_id=False))
    assert (tree / "usr/lib/a").read_bytes() == b"x"
    assert (tree / ".wh.plain").is_file()


def test_owners_given_by_the_caller(tree: Path) -> None:
    with SafeRoot.at(tree, follow=True) as root:
        data = header(b"sub/f", uid=b"0000005\0") + END
        unpack(TarReader(io.BytesIO(data)), root, Rules(layer=False, single_id=False, owner=(7, 8)), below="opt")
    assert ((tree / "opt/sub/f").stat().st_uid, (tree / "opt/sub/f").stat().st_gid) == (7, 8)


def test_times_far_away_do_not_stop_an_unpack(tree: Path) -> None:
    extract(tree, header(b"old", mtime=base256(-(2**70), 12)) + header(b"new", mtime=base256(2**70, 12)))
    assert listing(tree) == ["new", "old"]

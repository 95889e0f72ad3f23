"""The attack catalogue's archives (TAR-1 … TAR-11) and what must come of each; as a program: unpacks them all in a store of the caller's.

A case is refused, or gives a tree: path → what it begins with (``f 644 0:0``, ``d``, ``l -> target``). Over another layer the tree is
what both together show; a case says so where that is more than the lower layer's own names beside its own.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from notebook_containers.errors import Error
from notebook_containers.oci.image import LAYER_TAR, Descriptor, Digest
from notebook_containers.store.layers import Layer
from notebook_containers.store.store import Store
from tests.store.raw_tar import END, base256, header, long_name, pax

Tree = Mapping[str, str]
_KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}
REFUSED: Tree = {"!": "refused"}
DEEP = b"/".join([b"d" * 240] * 15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One archive without its end mark, or (``packed``) a whole compressed one; ``over`` is the tree over the lower layer."""

    data: bytes
    tree: Tree
    over: Tree | None = None
    packed: bool = False


LOWER = (
    header(b"low", b"5")
    + header(b"low/a", data=b"a")
    + header(b"low/b", data=b"b")
    + header(b"low/s", b"5")
    + header(b"low/s/x", data=b"x")
)
LOWER_TREE: Tree = {"low": "d", "low/a": "f", "low/b": "f", "low/s": "d", "low/s/x": "f", "srv": "l"}


def lower(canary: bytes) -> bytes:
    """The layer below: some files, and a link to the canary's directory."""
    return LOWER + link(b"srv", canary) + END


def link(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target)


def hard(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def folder(name: bytes, mode: bytes = b"0000755\0") -> bytes:
    return header(name, b"5", mode=mode)


def mtime(seconds: int) -> bytes:
    return b"%011o\0" % seconds


def cases(canary: bytes) -> dict[int, dict[str, Case]]:
    """All cases by their number; links lead to the directory ``canary``."""
    return {
        1: _names(),
        2: _links(canary),
        3: _hard_links(canary),
        4: _long_paths(canary),
        5: _deletions(canary),
        6: _overlay_forms(),
        7: _kinds(),
        8: _owners(),
        9: _sizes(),
        10: _bombs(),
        11: _duplicates(),
    }


def _refused(**found: bytes) -> dict[str, Case]:
    return {name.replace("_", " "): Case(data=data, tree=REFUSED) for name, data in found.items()}


def _names() -> dict[str, Case]:
    kept = {
        "absolute": (b"/abs", "abs"),
        "doubly absolute": (b"//abs2", "abs2"),
        "dot": (b"./x", "x"),
        "backslashes": (b"..\\..\\x", "..\\..\\x"),
        "255 bytes": (b"n" * 255, "n" * 255),
        "invalid UTF-8": (b"\xff\xfe", "\udcff\udcfe"),
        "newline": (b"new\nline", "new\nline"),
        "escape": (b"\x1b[31mred", "\x1b[31mred"),
        "dots that are none": (b"...", "..."),
    }
    found = {
        name: Case(data=(long_name(raw) if len(raw) > 100 else b"") + header(raw[:100], data=b"x"), tree={path: "f 644 0:0"})
        for name, (raw, path) in kept.items()
    }
    found["the root itself"] = Case(data=folder(b"./"), tree={})
    found["slash behind a file"] = Case(data=header(b"f/"), tree={"f": "d"})
    return found | _refused(
        up=header(b"../x"),
        up_later=header(b"a/../../x"),
        up_behind_a_dot=header(b"./../x"),
        only_up=header(b".."),
        nul_inside=pax((b"path", b"a\0b")) + header(b"x"),
        empty_name=header(b""),
        five_thousand_characters=pax((b"path", b"d/" * 2500 + b"x")) + header(b"x"),
        component_of_256=pax((b"path", b"n" * 256)) + header(b"x"),
    )


def _links(canary: bytes) -> dict[str, Case]:
    chain = b"".join(link(b"l%d" % n, b"l%d" % (n + 1)) for n in range(41))
    return _refused(
        through_an_absolute_link=link(b"l", canary) + header(b"l/evil", data=b"x"),
        through_a_relative_link=link(b"l", b"../" * 12 + canary.lstrip(b"/")) + header(b"l/evil"),
        through_41_links=chain + header(b"l0/evil"),
        through_a_loop=link(b"a", b"b") + link(b"b", b"a") + header(b"a/evil"),
        through_proc=link(b"l", b"/proc/self/cwd") + header(b"l/evil"),
        a_directory_through_a_link=link(b"l", canary) + folder(b"l/evil"),
        a_device_through_a_link=link(b"l", canary) + header(b"l/evil", b"6"),
        a_link_through_a_link=link(b"l", canary) + link(b"l/evil", b"x"),
    ) | {
        "to a deletion's name": Case(data=link(b"l", b".wh.x"), tree={"l": "l -> .wh.x"}),
        "a link becomes a directory": Case(data=link(b"l", canary) + folder(b"l") + header(b"l/f"), tree={"l": "d", "l/f": "f"}),
        "a link becomes a file": Case(data=link(b"l", canary + b"/f") + header(b"l", data=b"x"), tree={"l": "f"}),
        "below the lower layer's link": Case(
            data=header(b"srv/f", data=b"evil"), tree={"srv": "d", "srv/f": "f"}, over={"srv": "d", "srv/f": "f"}
        ),
        "the lower layer's directory becomes a link": Case(
            data=link(b"low", canary), tree={"low": "l"}, over={**dict.fromkeys([p for p in LOWER_TREE if "/" in p], ""), "low": "l"}
        ),
    }


def _hard_links(canary: bytes) -> dict[str, Case]:
    return _refused(
        out=hard(b"h", b"../outside/f"),
        absolute=hard(b"h", canary + b"/f"),
        through_a_link=link(b"l", canary) + hard(b"h", b"l/f"),
        into_a_link=header(b"f") + link(b"l", canary) + hard(b"l/h", b"f"),
        to_a_later_entry=hard(b"h", b"later") + header(b"later"),
        to_a_deleted_file=header(b".wh.x") + hard(b"h", b"x"),
        to_itself=header(b"h") + hard(b"h", b"./h"),
        to_a_directory=folder(b"d") + hard(b"h", b"d"),
        to_the_root=hard(b"h", b"/"),
        to_the_store=hard(b"h", b"../../../blobs/sha256/" + b"0" * 64),
    ) | {
        "to a link, which is not followed": Case(data=link(b"l", canary + b"/f") + hard(b"h", b"l"), tree={"l": "l", "h": "l"}),
        "to a file": Case(data=header(b"f", data=b"x", mode=b"0000600\0") + hard(b"h", b"/f"), tree={"f": "f 600", "h": "f 600"}),
    }


def _long_paths(canary: bytes) -> dict[str, Case]:
    steps = b"".join(folder(b"d%d" % n) + link(b"s%d" % n, b"d%d" % n) for n in range(16))
    way = b"/".join(b"s%d" % n for n in range(16))
    escape = long_name(b"/".join([b"s0"] * 16) + b"/" + b"../" * 16, b"K") + link(b"out", b"x")
    return _refused(
        deep_and_out_by_a_link=pax((b"path", DEEP)) + folder(b"x") + link(b"l", b"../" * 30 + canary[1:]) + header(b"l/evil"),
        chained_short_links=steps + pax((b"path", way + b"/evil")) + header(b"x"),
        a_link_beyond_the_longest_path=escape + header(b"out/evil"),
        a_hard_link_there=escape + hard(b"h", b"out/etc/passwd"),
    ) | {"deep": Case(data=pax((b"path", DEEP)) + folder(b"x"), tree={"/".join(["d" * 240] * n): "d" for n in range(1, 16)})}


def _deletions(canary: bytes) -> dict[str, Case]:
    without_a = {"low/a": ""}
    return _refused(
        of_nothing=header(b".wh."),
        of_dot=header(b".wh.."),
        of_dot_dot=header(b".wh..."),
        of_dot_dot_below=header(b".wh../x"),
        above=header(b"../.wh.x"),
        through_a_link=link(b"a", canary) + header(b"a/.wh.f"),
        opaque_through_a_link=link(b"a", canary) + header(b"a/.wh..wh..opq"),
        below_a_deletion=header(b".wh.x/y"),
    ) | {
        "of a file": Case(data=header(b"low/.wh.a"), tree={"low": "d"}, over=without_a),
        "as a link": Case(data=link(b"low/.wh.a", b"x"), tree={"low": "d"}, over=without_a),
        "as a hard link": Case(data=hard(b"low/.wh.a", b"x"), tree={"low": "d"}, over=without_a),
        "with data": Case(data=header(b"low/.wh.a", data=b"data"), tree={"low": "d"}, over=without_a),
        "of a directory": Case(data=header(b"low/.wh.s"), tree={"low": "d"}, over={"low/s": "", "low/s/x": ""}),
        "of a directory made anew": Case(
            data=header(b"low/.wh.s") + header(b"low/s/new"),
            tree={"low": "d", "low/s": "d", "low/s/new": "f"},
            over={"low/s/x": "", "low/s/new": "f"},
        ),
        "opaque": Case(
            data=header(b"low/n") + header(b"low/.wh..wh..opq"),
            tree={"low": "d", "low/n": "f"},
            over={**dict.fromkeys([p for p in LOWER_TREE if p.startswith("low/")], ""), "low/n": "f"},
        ),
        "opaque root": Case(data=header(b"n") + header(b".wh..wh..opq"), tree={"n": "f"}, over={**dict.fromkeys(LOWER_TREE, ""), "n": "f"}),
        "of a name of this layer": Case(data=header(b"n") + header(b".wh.n"), tree={"n": "f"}),
        "of what is not there": Case(data=header(b".wh.never"), tree={}),
        "aufs' own": Case(data=header(b".wh..wh.aufs") + folder(b".wh..wh.plnk") + header(b".wh..wh.plnk/1.2"), tree={}),
    }


def _overlay_forms() -> dict[str, Case]:
    forms = [b"trusted.overlay.opaque", b"user.overlay.opaque", b"trusted.overlay.redirect", b"user.overlay.metacopy", b"security.selinux"]
    records = [(prefix + form, b"y") for form in forms for prefix in (b"SCHILY.xattr.", b"LIBARCHIVE.xattr.")]
    v3 = bytes.fromhex("0100000300040000000000000000000000000000e8030000")
    return {
        "marks as attributes": Case(data=pax(*records) + folder(b"low"), tree={"low": "d"}),
        "a device 0:0": Case(data=folder(b"low") + header(b"low/a", b"3"), tree={"low": "d"}),
        "an attribute of a user": Case(data=pax((b"SCHILY.xattr.user.k", b"v")) + header(b"f"), tree={"f": "f"}),
        "file capabilities": Case(
            data=pax((b"SCHILY.xattr.security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))) + header(b"f"),
            tree={"f": "f"},
        ),
        "capabilities of another user name space": Case(
            data=pax((b"SCHILY.xattr.security.capability", v3)) + header(b"f"), tree={"f": "f"}
        ),
    } | _refused(
        an_attribute_of_64_KiB=pax((b"SCHILY.xattr.user.big", b"x" * 70_000)) + header(b"f"),
        ten_thousand_attributes=pax(*[(b"SCHILY.xattr.user.a%05d" % n, b"v" * 40) for n in range(10_000)]) + header(b"f"),
    )


def _kinds() -> dict[str, Case]:
    return {
        "fifo": Case(data=header(b"p", b"6"), tree={"p": "p"}),
        "contiguous": Case(data=header(b"f", b"7", data=b"x"), tree={"f": "f"}),
        "null": Case(data=header(b"n", b"3", major=b"0000001\0", minor=b"0000003\0"), tree={"n": "c"}),
        "any block device": Case(data=header(b"b", b"4", major=b"0007777\0", minor=base256(2**20 - 1, 8)), tree={"b": "b"}),
    } | _refused(
        major_out_of_range=header(b"c", b"3", major=b"0010000\0"),
        minor_out_of_range=header(b"c", b"4", minor=base256(2**20, 8)),
        minor_negative=header(b"c", b"4", minor=base256(-1, 8)),
        GNU_D=header(b"x", b"D"),
        GNU_M=header(b"x", b"M"),
        GNU_V=header(b"x", b"V"),
        GNU_S=header(b"x", b"S"),
        sparse_00=pax((b"GNU.sparse.size", b"5"), (b"GNU.sparse.numblocks", b"0")) + header(b"x"),
        sparse_01=pax((b"GNU.sparse.map", b"0,0"), (b"GNU.sparse.size", b"5")) + header(b"x"),
        sparse_10=pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")) + header(b"x"),
        unknown_type=header(b"x", b"Z"),
        socket=header(b"x", b"s"),
    )


def _owners() -> dict[str, Case]:
    return {
        "set-user-id, set-group-id, sticky": Case(
            data=header(b"u", mode=b"0004755\0") + header(b"g", mode=b"0002755\0") + folder(b"t", b"0001777\0"),
            tree={"u": "f 4755", "g": "f 2755", "t": "d 1777"},
        ),
        "bits that no file has": Case(data=header(b"f", mode=b"0177777\0"), tree={"f": "f 7777"}),
        "owners": Case(data=header(b"f", uid=b"0001750\0", gid=b"0000144\0"), tree={"f": "f 644 1000:100"}),
        "names of users are ignored": Case(data=pax((b"uname", b"daemon"), (b"gname", b"daemon")) + header(b"f"), tree={"f": "f 644 0:0"}),
        "a large owner": Case(data=header(b"f", uid=base256(60_000, 8)), tree={"f": "f 644 60000:0"}),
    } | _refused(
        uid_minus_one=header(b"f", uid=base256(-1, 8)),
        uid_two_to_32=header(b"f", uid=base256(2**32, 8)),
        uid_of_nobody_possible=header(b"f", uid=base256(2**32 - 1, 8)),
        gid_two_to_55=header(b"f", gid=base256(2**55 - 1, 8)),
        uid_two_to_63=pax((b"uid", b"%d" % 2**63)) + header(b"f"),
        uid_in_words=pax((b"uid", b"root")) + header(b"f"),
    )


def _sizes() -> dict[str, Case]:
    twice = header(b"a", data=b"1") + END + header(b"b", data=b"2")
    return {
        "a directory with a size": Case(data=header(b"d", b"5", size=b"00000001000\0") + header(b"f"), tree={"d": "d", "f": "f"}),
        "a link with a size": Case(data=header(b"l", b"2", link=b"x", size=b"00000001000\0") + header(b"f"), tree={"l": "l", "f": "f"}),
        "garbage after the end": Case(data=header(b"a") + END + b"garbage" * 300, tree={"a": "f"}),
        "two archives one after the other": Case(data=twice, tree={"a": "f"}),
        "the extended name counts": Case(data=pax((b"path", b"pax")) + header(b"ustar"), tree={"pax": "f"}),
        "a harmless global header": Case(data=pax((b"comment", b"git"), kind=b"g") + header(b"a"), tree={"a": "f"}),
    } | _refused(
        negative=header(b"f", size=base256(-1, 12)),
        two_to_63=header(b"f", size=base256(2**63 - 1, 12)),
        wrong_check_sum=header(b"f", checksum=b"000000\0 "),
        record_of_a_wrong_length=header(b"p", b"x", data=b"99 a=b\n") + header(b"f"),
        record_of_100_MiB=header(b"p", b"x", size=b"%011o\0" % (100 << 20)) + bytes(1 << 20),
        a_million_records=header(b"p", b"x", data=b"7 a=b \n" * 160_000) + header(b"f"),
        global_path=pax((b"path", b"b"), kind=b"g") + header(b"a"),
        global_link=pax((b"linkpath", b"b"), kind=b"g") + header(b"a"),
        global_size=pax((b"size", b"5"), kind=b"g") + header(b"a"),
        long_name_of_2_MiB=header(b"n", b"L", data=b"x" * (2 << 20)) + header(b"f"),
        cut_in_the_data=header(b"f", size=b"00000777777\0"),
        extended_name_that_climbs=pax((b"path", b"../x")) + header(b"fine"),
    )


def _bombs() -> dict[str, Case]:
    from backports import zstd

    plain = header(b"f", data=b"x") + END
    wide: dict[int, int] = {zstd.CompressionParameter.window_log: 28, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=wide)
    huge = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    skip = b"\x50\x2a\x4d\x18" + (1000).to_bytes(4, "little") + bytes(1000)
    refused = {
        "gzip of gzip": gzip.compress(gzip.compress(plain)),
        "a zstd window of 256 MiB": packer.compress(plain) + packer.flush(),
        "an xz dictionary of 1 GiB": lzma.compress(plain, filters=huge),
        "a file larger than the disk": gzip.compress(header(b"f", size=base256(2**60, 12)) + bytes(10 << 20)),
        "two GiB behind the end": gzip.compress(plain, 1) + gzip.compress(bytes(64 << 20), 9) * 32,
        "three thousand levels": gzip.compress(pax((b"path", b"d/" * 3000)) + folder(b"x") + END),
    }
    fine = {
        "members without end": gzip.compress(plain) + gzip.compress(b"") * 2000,
        "skippable frames": skip * 200 + zstd.compress(plain) + skip * 200,
        "bzip2": bz2.compress(plain),
    }
    found = {name: Case(data=data, tree=REFUSED, packed=True) for name, data in refused.items()}
    return found | {name: Case(data=data, tree={"f": "f"}, packed=True) for name, data in fine.items()}


def _duplicates() -> dict[str, Case]:
    return {
        "the last file counts": Case(data=header(b"x", data=b"1") + header(b"x", data=b"2", mode=b"0000600\0"), tree={"x": "f 600"}),
        "file, then directory": Case(data=header(b"x") + folder(b"x") + header(b"x/y"), tree={"x": "d", "x/y": "f"}),
        "directory, then file": Case(data=folder(b"x") + header(b"x/y") + header(b"x", data=b"2"), tree={"x": "f"}),
        "children of a closed directory": Case(data=folder(b"d", b"0000000\0") + header(b"d/f"), tree={"d": "d", "d/f": "f"}),
        "names that differ in case": Case(data=header(b"x") + header(b"X"), tree={"x": "f", "X": "f"}),
        "a directory's time comes last": Case(
            data=header(b"d", b"5", mtime=mtime(200)) + header(b"d/f", mtime=mtime(300)), tree={"d": "d", "d/f": "f"}
        ),
    }


# -- running them --------------------------------------------------------------------------------------------------------------------------


def _zstd(data: bytes) -> bytes:
    from backports import zstd

    return zstd.compress(data)


WRAPS: Mapping[str, Callable[[bytes], bytes]] = {"tar": bytes, "gzip": lambda data: gzip.compress(data, 1), "zstd": _zstd}


def outcomes(store: Store, canary: bytes, *, wraps: Mapping[str, Callable[[bytes], bytes]] = WRAPS) -> dict[str, dict[str, str]]:
    """Apply every case in every wrap, alone and over another layer; the result by ``number/name/wrap/place``: a tree, or what was said."""
    below = store.layers.apply(io.BytesIO(lower(canary)))
    found: dict[str, dict[str, str]] = {}
    for number, group in cases(canary).items():
        for name, case in group.items():
            for wrap, pack in {"packed": bytes}.items() if case.packed else wraps.items():
                data = case.data if case.packed else pack(case.data + (END if not len(case.data) % 512 else b""))
                found.update({f"{number}/{name}/{wrap}/{place}": tree for place, tree in _both(store, data, case, below)})
    return found


def _both(store: Store, data: bytes, case: Case, below: Layer) -> Iterator[tuple[str, dict[str, str]]]:
    plain = _plain(data)
    blob = Descriptor(media_type=LAYER_TAR, digest=Digest.of(data), size=len(data))
    try:
        layer = store.layers.apply_stream(io.BytesIO(data), blob, expected=plain)
    except Error as err:
        left = [path.name for path in store.disk.staging.iterdir() if not path.name.endswith(".lock")]
        left += os.listdir(store.disk.trash)
        answer = {"!": "refused", "says": f"{type(err).__name__}: {err}", "left": " ".join(left)}
        yield from (("first", answer), ("second", answer))
        return
    yield "first", shown(store, [layer])
    yield "second", shown(store, [below, layer])
    store.layers.remove(layer.diff_id)
    store.content.remove(layer.blob.digest)


def _plain(data: bytes) -> Digest:
    from notebook_containers.store.compression import uncompressed

    try:
        with uncompressed(io.BytesIO(data)) as stream:
            return Digest.of(stream.read(512 << 20))
    except (Error, MemoryError):
        return Digest.of(b"nothing can have this")


def shown(store: Store, layers: list[Layer]) -> dict[str, str]:
    """Tell what the layers show together: kind, mode, owner and a link's target, by path."""
    trees, found, todo = [layer.tree for layer in layers], {}, [""]
    while todo:
        head = todo.pop()
        for name in store.layers.trees.names(trees, head):
            path = f"{head}/{name}" if head else name
            entry = store.layers.trees.find(trees, head, name)
            assert entry is not None
            mode, uid, gid, target = entry
            kind = "?fdlcbp"[
                (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO).index(stat.S_IFMT(mode)) + 1
            ]
            found[path] = f"l -> {target}" if kind == "l" else f"{kind} {stat.S_IMODE(mode):o} {uid}:{gid}"
            if kind == "d":
                todo.append(path)
    return found


def main() -> None:
    """Print the outcomes as JSON."""
    root, canary, wraps = sys.argv[1], os.fsencode(sys.argv[2]), sys.argv[3].split(",")
    with Store.open(Path(root)) as store:
        print(json.dumps(outcomes(store, canary, wraps={name: WRAPS[name] for name in wraps})))


if __name__ == "__main__":
    main()

"""A layer's tree against its archive: sound trees of every form are found sound, and each kind of change is seen."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.store.check import check
from notebook_containers.store.layers import Layer
from notebook_containers.store.store import Store
from tests.people import person

pytestmark = pytest.mark.root


def archive() -> bytes:
    """Everything that an archive may say, also twice, out of order, and by implication."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, data: bytes = b"", **attributes: object) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid, info.gid = len(data), 1_700_000_000.25, 5, 6
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))

        add("./", type=tarfile.DIRTYPE, mode=0o755)
        add("implied/deep/file", b"x" * 70_000, mode=0o640)
        add("directory", type=tarfile.DIRTYPE, mode=0o2750)
        add("directory/file", b"first")
        add("directory/file", b"second")
        add("file", b"data", mode=0o4755, pax_headers={"SCHILY.xattr.user.note": "yes"})
        add("capable", b"c", mode=0o755, pax_headers={"SCHILY.xattr.security.capability": "\x01\0\0\x02\0\x04" + "\0" * 14})
        add("hard", type=tarfile.LNKTYPE, linkname="file")
        add("link", type=tarfile.SYMTYPE, linkname="../else where")
        add("pipe", type=tarfile.FIFOTYPE)
        add("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
        add("was/a/directory/here", b"1")
        add("was/a", b"a file now")
        add(".wh.gone")
        add("hidden/.wh..wh..opq")
        add("hidden/new", b"n")
        add(".wh.again")
        add("again", type=tarfile.DIRTYPE, mode=0o755)
        add("again/below", b"b")
        add("late/.wh.dead")
        add("late/dead/file", b"alive")
        add("odd \n name \xe9'", b"o", mode=0)
    return buffer.getvalue()


@pytest.fixture
def layer(store: Store) -> Layer:
    made = store.layers.apply(io.BytesIO(archive()))
    store.records.cache_put("k", made.diff_id)
    return made


def test_a_sound_tree_is_sound(store: Store, layer: Layer) -> None:
    assert check(store) == []


def same_length(tree: Path) -> None:
    status = (tree / "directory/file").stat()
    (tree / "directory/file").write_bytes(b"SECOND")
    os.utime(tree / "directory/file", ns=(status.st_atime_ns, status.st_mtime_ns))


def unlink_hard(tree: Path) -> None:
    (tree / "hard").unlink()
    shutil.copy2(tree / "file", tree / "hard")
    os.chown(tree / "hard", 5, 6)
    os.chmod(tree / "hard", 0o4755)


def afresh(path: Path) -> Path:
    """Take away what is there, for something else to be made."""
    path.unlink()
    return path


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "path": (lambda tree: (tree / "more").write_bytes(b""), "/more: should not be there"),
    "missing": (lambda tree: (tree / "link").unlink(), "/link: is missing"),
    "mode": (lambda tree: os.chmod(tree / "directory", 0o755), "/directory: has mode 0755, not 2750"),
    "uid": (lambda tree: os.chown(tree / "file", 7, 6), "/file: belongs to 7:6, not 5:6"),
    "gid": (lambda tree: os.lchown(tree / "link", 5, 7), "/link: belongs to 5:7, not 5:6"),
    "size": (lambda tree: (tree / "directory/file").write_bytes(b"longer than"), "has 11 bytes, not 6"),
    "mtime": (lambda tree: os.utime(tree / "pipe", ns=(0, 5)), "/pipe: was changed at 0.000, not 1700000000.250"),
    "xattr": (lambda tree: os.setxattr(tree / "file", "user.note", b"no"), "/file: has another attribute user.note"),
    "capability": (lambda tree: os.removexattr(tree / "capable", "security.capability"), "/capable: has another attribute security.cap"),
    "bytes": (same_length, "/directory/file: has other bytes"),
    "kind": (lambda tree: afresh(tree / "pipe").write_bytes(b""), "/pipe: is of kind f, not p"),
    "link": (lambda tree: os.symlink("x", afresh(tree / "link")), "/link: leads elsewhere"),
    "device": (lambda tree: os.mknod(afresh(tree / "null"), 0o20644, os.makedev(1, 5)), "/null: is another device"),
    "deletion": (lambda tree: (tree / "gone").unlink(), "/gone: is missing"),
    "opaque": (lambda tree: os.removexattr(tree / "hidden", "trusted.overlay.opaque"), "/hidden: does not hide what lies below"),
    "hard link": (unlink_hard, "is no longer a hard link"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_seen(store: Store, layer: Layer, name: str) -> None:
    change, said = CHANGES[name]
    change(layer.tree)
    findings = [(finding.kind, finding.subject) for finding in check(store)]
    assert findings == [("tree-damaged", layer.diff_id)]
    assert said in "; ".join(store.layers.differences(layer))
    assert check(store, quick=True) == []
    store.layers.rebuild(layer.diff_id)
    assert check(store) == []


def test_an_archive_that_is_another_one_is_seen(store: Store, layer: Layer) -> None:
    other = store.layers.apply(io.BytesIO(b"\0" * 1024))
    store.records.add_layer(layer.diff_id, store.records.layer(other.diff_id) or "")
    assert "its archive is another one" in "".join(finding.detail for finding in check(store))


CODE = """
import io, os, pathlib, sys
from notebook_containers.store.check import check
from notebook_containers.store.store import Store
with Store.open(pathlib.Path(sys.argv[1])) as store:
    layer = store.layers.apply(io.BytesIO(pathlib.Path(sys.argv[2]).read_bytes()))
    store.records.cache_put("k", layer.diff_id)
    print(store.ids.single, [str(finding) for finding in check(store)])
    store.trees.remove(layer.tree / "link")
    print([finding.detail.split("; ")[-1] for finding in check(store)])
    store.layers.rebuild(layer.diff_id)
    print(check(store))
"""


@pytest.mark.user
@pytest.mark.parametrize("lent", [False, True])
def test_as_an_ordinary_user(lent: bool) -> None:
    """With one id, and with lent ones (then a worker in a user name space does it)."""
    with person(lent=lent) as someone:
        (someone.home / "layer.tar").write_bytes(archive())
        done = someone.run("/usr/bin/python3", "-c", CODE, someone.home / "root", someone.home / "layer.tar")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [f"{not lent} []", "['/link: is missing']", "[]"], done.stdout

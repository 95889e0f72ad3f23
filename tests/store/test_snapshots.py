"""Snapshots on the real overlayfs: what is changed there is what changes() tells and what the committed layer shows."""

from __future__ import annotations

import io
import os
import shutil
import socket
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notebook_containers.errors import Conflict, InvalidArgument, NotFound, StoreError
from notebook_containers.linux import syscalls
from notebook_containers.oci.image import Digest
from notebook_containers.oci.runtime import Mount
from notebook_containers.store.layers import Layer
from notebook_containers.store.overlay import Stack, mounted
from notebook_containers.store.store import Store
from tests.store.raw_tar import END, header

pytestmark = pytest.mark.root

BASE = (
    header(b"etc/", b"5")
    + header(b"etc/passwd", data=b"root:x:0:0\n")
    + header(b"etc/old", data=b"old")
    + header(b"bin/", b"5")
    + header(b"bin/tool", data=b"#!", mode=b"0000755\0", uid=b"0000005\0")
    + header(b"var/lib/a", data=b"a")
    + header(b"var/lib/b", data=b"b")
    + header(b"link", b"2", link=b"/etc")
    + END
)


@pytest.fixture
def base(store: Store) -> Layer:
    return store.layers.apply(io.BytesIO(BASE))


@contextmanager
def merged(store: Store, key: str) -> Iterator[Path]:
    """The snapshot's merged view; nobody else sees the mount."""
    directory = store.root / "snapshots" / key
    lowers = tuple(store.layers.get(layer).tree for layer in store.snapshots.layers(key))
    with mounted(Stack(lowers=lowers, upper=directory / "upper", work=directory / "work"), userxattr=False) as fd:
        yield Path(f"/proc/self/fd/{fd}")


@contextmanager
def viewed(store: Store, *layers: Layer) -> Iterator[Path]:
    with mounted(Stack(lowers=tuple(layer.tree for layer in layers)), userxattr=False) as fd:
        yield Path(f"/proc/self/fd/{fd}")


def tell(store: Store, key: str, **more: tuple[str, ...]) -> list[str]:
    return [f"{change.kind} {change.path}" for change in store.snapshots.changes(key, **more)]


def members(store: Store, layer: Layer) -> dict[str, tarfile.TarInfo]:
    with store.layers.open_tar(layer.diff_id) as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
        return {member.name: member for member in tar}


def facts(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything about a tree that a layer keeps."""
    result: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(f"{root}/"):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content: object = os.readlink(path) if stat.S_ISLNK(status.st_mode) else b""
            if stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
            times = int(status.st_mtime) if not stat.S_ISDIR(status.st_mode) else 0
            attributes = {n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)}
            result[os.path.relpath(path, root)] = (status.st_mode, status.st_uid, status.st_gid, times, content, attributes)
    return result


def change_much(root: Path) -> None:
    """Everything overlayfs has a form for."""
    (root / "etc/passwd").write_text("changed")
    (root / "etc/old").unlink()
    shutil.rmtree(root / "var/lib")
    (root / "var/lib").mkdir()
    (root / "var/lib/c").write_text("c")
    os.chmod(root / "bin/tool", 0o4711)
    (root / "new/deep/er").mkdir(parents=True)
    (root / "new/file").write_bytes(bytes(100_000))
    os.link(root / "new/file", root / "new/hard")
    os.symlink("../etc", root / "new/sym")
    os.mkfifo(root / "new/fifo", 0o600)
    os.mknod(root / "new/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.chown(root / "new/deep", 1000, 100)
    os.setxattr(root / "new/file", "user.k", b"v")
    os.utime(root / "new/file", (5, 5))
    (root / "new/odd \n\udcff").write_text("odd")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(root / "new", os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/sock")
        finally:
            os.close(here)


CHANGED = [
    "C /bin",
    "C /bin/tool",
    "C /etc",
    "D /etc/old",
    "C /etc/passwd",
    "A /new",
    "A /new/deep",
    "A /new/deep/er",
    "A /new/fifo",
    "A /new/file",
    "A /new/hard",
    "A /new/null",
    "A /new/odd \n\udcff",
    "A /new/sym",
    "C /var",
    "C /var/lib",
    "D /var/lib/a",
    "D /var/lib/b",
    "A /var/lib/c",
]


def test_changes_are_those_of_docker_diff(store: Store, base: Layer) -> None:
    store.snapshots.prepare("k", [base.diff_id])
    assert tell(store, "k") == []
    with merged(store, "k") as root:
        change_much(root)
    assert tell(store, "k") == CHANGED


def test_a_committed_layer_shows_what_the_snapshot_showed(store: Store, base: Layer) -> None:
    store.snapshots.prepare("k", [base.diff_id])
    with merged(store, "k") as root:
        change_much(root)
        os.unlink(root / "new/sock")
        before = facts(root)
    layer = store.snapshots.commit("k")
    assert layer is not None
    assert not store.snapshots.exists("k")
    with viewed(store, base, layer) as root:
        assert facts(root) == before
        assert (root / "new/file").stat().st_ino == (root / "new/hard").stat().st_ino
    # and so does the tree that another store unpacks from the archive
    with Store.open(store.root.parent / "other") as other, store.layers.open_tar(layer.diff_id) as stream:
        unpacked = other.layers.apply(stream, expected=layer.diff_id)
        with viewed(other, base, unpacked) as root:
            assert facts(root) == before


def test_copy_makes_the_same_layer_and_leaves_the_snapshot(store: Store, base: Layer) -> None:
    store.snapshots.prepare("k", [base.diff_id])
    with merged(store, "k") as root:
        change_much(root)
        copied = store.snapshots.copy("k")
        assert (root / "new/file").exists()
    assert copied is not None
    assert tell(store, "k") == CHANGED
    committed = store.snapshots.commit("k")
    assert committed is not None
    assert committed.diff_id == copied.diff_id
    assert len(store.layers.list()) == 2


def test_the_archive_has_the_specifications_forms(store: Store, base: Layer) -> None:
    store.snapshots.prepare("k", [base.diff_id])
    with merged(store, "k") as root:
        change_much(root)
    layer = store.snapshots.commit("k")
    assert layer is not None
    found = members(store, layer)
    assert list(found) == sorted(found, key=lambda name: [os.fsencode(p).removeprefix(b".wh.") for p in name.split("/")])
    assert "etc/.wh.old" in found
    assert "var/lib/.wh..wh..opq" in found
    assert "new/sock" not in found
    assert found["new/hard"].type == tarfile.LNKTYPE
    assert not any("overlay" in key for member in found.values() for key in member.pax_headers)
    left = {name for path in layer.tree.rglob("*") for name in os.listxattr(path, follow_symlinks=False)}
    assert left == {"trusted.overlay.opaque", "user.k"}


def test_equal_changes_are_one_layer_whatever_is_below(store: Store, base: Layer) -> None:
    other = store.layers.apply(io.BytesIO(header(b"x") + END))
    made = []
    for key, below in (("a", base), ("b", other)):
        store.snapshots.prepare(key, [below.diff_id])
        with merged(store, key) as root:
            (root / "same").write_text("same")
            os.utime(root / "same", (1, 1))
        made.append(store.snapshots.commit(key))
    assert made[0] is not None
    assert made[0] == made[1]


def test_an_untouched_snapshot_is_no_layer(store: Store, base: Layer) -> None:
    store.snapshots.prepare("k", [base.diff_id])
    with merged(store, "k") as root:
        (root / "tmp-file").write_text("x")
        (root / "tmp-file").unlink()
    assert store.snapshots.commit("k") is None
    assert store.snapshots.list() == []


def test_a_runtimes_mount_points_are_left_out(store: Store, base: Layer) -> None:
    ignore = ("/dev", "/dev/pts", "/proc", "/etc/hosts", "/etc/passwd", "/etc/resolv.conf")
    store.snapshots.prepare("k", [base.diff_id])
    with merged(store, "k") as root:
        for name in ("dev/pts", "proc"):
            (root / name).mkdir(parents=True)
        (root / "etc/hosts").touch()
        (root / "etc/resolv.conf").touch()
    assert tell(store, "k", ignore=ignore) == []
    assert store.snapshots.commit("k", ignore=ignore) is None

    store.snapshots.prepare("k", [base.diff_id])
    with merged(store, "k") as root:
        (root / "dev/pts").mkdir(parents=True)
        (root / "dev/own").write_text("kept")
        (root / "etc/hosts").write_text("not empty")
        (root / "etc/passwd").write_text("")  # it was there: emptying it is a change
    assert tell(store, "k", ignore=ignore) == ["A /dev", "A /dev/own", "C /etc", "A /etc/hosts", "C /etc/passwd"]
    layer = store.snapshots.commit("k", ignore=ignore)
    assert layer is not None
    assert sorted(members(store, layer)) == ["dev", "dev/own", "etc", "etc/hosts", "etc/passwd"]
    assert sorted(p.name for p in (layer.tree / "dev").iterdir()) == ["own"]


def test_commits_are_deterministic_and_times_can_be_clamped(store: Store, base: Layer) -> None:
    made = []
    for key in ("a", "b"):
        store.snapshots.prepare(key, [base.diff_id])
        with merged(store, key) as root:
            for name in ("z", "a", "m") if key == "a" else ("m", "z", "a"):
                (root / "etc" / name).write_text(name)
            os.symlink("x", root / "sym")
            os.utime(root / "etc/a", (7, 7))
        made.append(store.snapshots.commit(key, epoch=1_000_000))
    assert made[0] is not None
    assert made[0] == made[1]
    assert {member.mtime for member in members(store, made[0]).values()} == {7, 1_000_000}
    assert (made[0].tree / "sym").lstat().st_mtime == 1_000_000
    assert (made[0].tree / "etc").stat().st_mtime == 1_000_000


def test_the_roots_own_mode_is_inherited_and_committed(store: Store, base: Layer) -> None:
    store.snapshots.prepare("k", [base.diff_id])
    with merged(store, "k") as root:
        assert stat.S_IMODE(root.stat().st_mode) == 0o755
        os.chmod(root, 0o1777)
    changed = store.snapshots.commit("k")
    assert changed is not None
    assert changed.root == (0o1777, 0, 0)
    store.snapshots.prepare("k", [base.diff_id, changed.diff_id])
    with merged(store, "k") as root:
        assert stat.S_IMODE(root.stat().st_mode) == 0o1777
        (root / "f").write_text("x")
    layer = store.snapshots.commit("k")
    assert layer is not None
    assert list(members(store, layer)) == ["f"]


def test_names_that_mean_deletions_cannot_be_committed(store: Store, base: Layer) -> None:
    store.snapshots.prepare("k", [base.diff_id])
    with merged(store, "k") as root:
        (root / ".wh.etc").write_text("attack")
    with pytest.raises(StoreError, match=r"\.wh\.etc"):
        store.snapshots.commit("k")


def test_overlay_attributes_that_a_container_made_are_not_committed(store: Store, base: Layer) -> None:
    store.snapshots.prepare("k", [base.diff_id])
    with merged(store, "k") as root:
        (root / "d").mkdir()
        (root / "f").write_text("x")
        for path in (root / "d", root / "f"):
            os.setxattr(path, "user.overlay.opaque", b"y")
            os.setxattr(path, "user.overlay.redirect", b"/etc")
    layer = store.snapshots.commit("k")
    assert layer is not None
    assert os.listxattr(layer.tree / "d") == []
    assert os.listxattr(layer.tree / "f") == []
    assert not any("overlay" in key for member in members(store, layer).values() for key in member.pax_headers)


def test_files_that_change_while_they_are_copied(store: Store) -> None:
    store.snapshots.prepare("k", [])
    upper = store.root / "snapshots/k/upper"
    (upper / "f").write_text("first")
    child = os.fork()
    if child == 0:
        while True:
            for size in (0, 3_000_000, 100, 700_000):
                with open(upper / "f", "wb") as file:
                    file.truncate(size)
            (upper / "g").write_bytes(b"x")
            (upper / "g").unlink()
    try:
        layers = [layer for _ in range(15) if (layer := store.snapshots.copy("k"))]
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert len(layers) == 15
    assert len({layer.diff_id for layer in layers}) > 1


def test_an_empty_root_is_a_bind_mount(store: Store) -> None:
    store.snapshots.prepare("k", [])
    (mount,) = store.snapshots.mounts("k")
    assert (mount.type, mount.source) == ("bind", str(store.root / "snapshots/k/upper"))
    Path(mount.source, "f").write_text("x")
    layer = store.snapshots.commit("k")
    assert layer is not None
    assert list(members(store, layer)) == ["f"]


def put(mount: Mount, target: Path) -> None:
    flags = {"ro": syscalls.MS_RDONLY, "bind": syscalls.MS_BIND, "rw": 0}
    bits = sum(flags[o] for o in mount.options if o in flags)
    syscalls.mount(mount.source, str(target), mount.type, bits, ",".join(o for o in mount.options if o not in flags))


@pytest.mark.parametrize("volatile", [False, True])
def test_the_mounts_can_be_mounted_and_mounted_again(store: Store, base: Layer, tmp_path: Path, volatile: bool) -> None:
    target = tmp_path / "mnt"
    target.mkdir()
    store.snapshots.prepare("k", [base.diff_id])
    for number in range(3):
        (mount,) = store.snapshots.mounts("k", volatile=volatile)
        assert ("volatile" in mount.options) == volatile
        put(mount, target)
        try:
            (target / f"f{number}").write_text("x")
            assert (target / "etc/passwd").read_text() == "root:x:0:0\n"
        finally:
            syscalls.umount2(str(target))
    assert tell(store, "k") == ["A /f0", "A /f1", "A /f2"]


def test_views_are_read_only(store: Store, base: Layer, tmp_path: Path) -> None:
    other = store.layers.apply(io.BytesIO(header(b"etc/.wh.old") + header(b"x") + END))
    target = tmp_path / "mnt"
    target.mkdir()
    (mount,) = store.snapshots.view([base.diff_id, other.diff_id])
    put(mount, target)
    try:
        assert sorted(os.listdir(target / "etc")) == ["passwd"]
        with pytest.raises(OSError, match="Read-only"):
            (target / "y").touch()
    finally:
        syscalls.umount2(str(target))
    (alone,) = store.snapshots.view([base.diff_id])
    assert (alone.type, alone.options) == ("bind", ("bind", "ro"))
    with pytest.raises(InvalidArgument):
        store.snapshots.view([])


def test_lower_directories_whose_path_has_colons(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a:b\\c") as store:
        layer = store.layers.apply(io.BytesIO(BASE))
        store.snapshots.prepare("k", [layer.diff_id])
        (mount,) = store.snapshots.mounts("k")
        (tmp_path / "mnt").mkdir()
        put(mount, tmp_path / "mnt")
        try:
            assert (tmp_path / "mnt/etc/old").read_text() == "old"
        finally:
            syscalls.umount2(str(tmp_path / "mnt"))


def test_a_hundred_and_twenty_layers(store: Store, base: Layer) -> None:
    layers = [base.diff_id]
    for number in range(119):
        layers.append(store.layers.apply(io.BytesIO(header(b"n/%d" % number) + header(b"top", data=b"%d" % number) + END)).diff_id)
    store.snapshots.prepare("k", layers)
    with merged(store, "k") as root:
        assert len(os.listdir(root / "n")) == 119
        assert (root / "top").read_text() == "118"
        (root / "n/0").unlink()
    assert tell(store, "k") == ["C /n", "D /n/0"]
    assert store.snapshots.read_file(layers, "top", max_bytes=10) == b"118"


def test_read_file_follows_links_inside(store: Store, base: Layer) -> None:
    top = store.layers.apply(
        io.BytesIO(
            header(b"etc/.wh.old")
            + header(b"up", b"2", link=b"../../etc/passwd")
            + header(b"loop", b"2", link=b"loop")
            + header(b"var/lib/", b"5")
            + header(b"var/lib/.wh..wh..opq")
            + header(b"p", b"6")
            + END
        )
    )
    layers = [base.diff_id, top.diff_id]
    read = store.snapshots.read_file
    assert read(layers, "/etc/passwd") == b"root:x:0:0\n"
    assert read(layers, "link/passwd") == b"root:x:0:0\n"
    assert read(layers, "up") == b"root:x:0:0\n"
    assert [read(layers, path) for path in ("etc/old", "var/lib/a", "p", "etc", "nothing", "etc/passwd/x", "")] == [None] * 7
    assert read([base.diff_id], "var/lib/a") == b"a"
    for path, size in (("loop", 10), ("etc/passwd", 3)):
        with pytest.raises(OSError, match=r".+"):
            read(layers, path, max_bytes=size)
    store.snapshots.prepare("k", layers)
    with merged(store, "k") as root:
        (root / "etc/passwd").write_text("own")
    assert read(layers, "/etc/passwd", key="k") == b"own"


def test_usage_counts_an_inode_once(store: Store) -> None:
    store.snapshots.prepare("k", [])
    upper = store.root / "snapshots/k/upper"
    before = store.snapshots.usage("k")
    (upper / "f").write_bytes(os.urandom(40_960))
    os.link(upper / "f", upper / "g")
    assert 40_960 <= store.snapshots.usage("k") - before < 80_000


def test_keys(store: Store, base: Layer) -> None:
    store.snapshots.prepare("k", [base.diff_id])
    assert store.snapshots.list() == ["k"]
    assert store.snapshots.layers("k") == (base.diff_id,)
    with pytest.raises(Conflict):
        store.snapshots.prepare("k", [])
    with pytest.raises(NotFound):
        store.snapshots.mounts("other")
    with pytest.raises(StoreError, match="not in the store"):
        store.snapshots.prepare("l", [Digest.of(b"none")])
    for key in ("", "..", "a/b", "../x", "x" * 200, ".hidden"):
        with pytest.raises(InvalidArgument):
            store.snapshots.exists(key)
    store.snapshots.remove("k")
    store.snapshots.remove("k")
    assert store.snapshots.list() == []


def test_a_path_too_long_for_a_layer_is_an_error(store: Store) -> None:
    store.snapshots.prepare("k", [])
    here = os.open(store.root / "snapshots/k/upper", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(StoreError, match="longer than 4000"):
        store.snapshots.commit("k")
    store.snapshots.remove("k")
    store.disk.settle()
    assert list(store.disk.trash.iterdir()) == []


def test_a_file_is_read_as_the_top_layers_have_it_whatever_was_read_before(store: Store) -> None:
    def layer(*entries: bytes) -> Layer:
        return store.layers.apply(io.BytesIO(b"".join(entries) + END))

    def read(*layers: Layer) -> bytes | None:
        return store.snapshots.read_file([each.diff_id for each in layers], "/etc/name")

    base = layer(header(b"etc/name", data=b"base"), header(b"config/name", data=b"config"))
    other = layer(header(b"other", data=b"x"))
    stack = [base, other]
    assert (read(base), read(*stack)) == (b"base", b"base")
    stack.append(layer(header(b"etc/name", data=b"new")))
    assert read(*stack) == b"new"
    stack += [other, layer(header(b"etc/.wh.name"))]
    assert (read(*stack[:-1]), read(*stack)) == (b"new", None)
    linked = [base, other, layer(header(b".wh.etc"), header(b"etc", kind=b"2", link=b"config"))]
    assert (read(*linked), read(*linked, other)) == (b"config", b"config")
    assert read(*linked, layer(header(b"config/name", data=b"changed"))) == b"changed", "a link leads there"

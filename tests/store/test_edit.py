"""File operations on a snapshot's merged view: as root here, and the same as an ordinary user through the worker."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers.errors import DiskFull, Error, InvalidArgument, InvalidDocument, NotFound
from notebook_containers.linux import idmaps
from notebook_containers.oci.image import Digest
from notebook_containers.store import mapped
from notebook_containers.store.edit import CopyTree, ExtractTar, HostDirectory, LayersView, MakeDirectory, Operation, WriteFile
from notebook_containers.store.held import Piece
from notebook_containers.store.operations import from_json, to_json
from notebook_containers.store.overlay import Stack
from notebook_containers.store.store import Store
from tests.store.raw_tar import END, header

pytestmark = pytest.mark.root

BASE = (
    header(b"usr/lib/", b"5")
    + header(b"usr/lib/keep", data=b"keep")
    + header(b"lib", b"2", link=b"/usr/lib")
    + header(b"etc/", b"5")
    + header(b"etc/conf", data=b"old", uid=b"0000005\0", mode=b"0000640\0")
    + header(b"out", b"2", link=b"../../../../../../../..@"[:-1])
    + END
)


class Desk:
    """A snapshot over one base layer, a context directory, and looks at the result."""

    def __init__(self, store: Store, context: Path) -> None:
        self.store, self.context = store, context
        self.source = HostDirectory(path=context)
        self.base: Digest = store.layers.apply(io.BytesIO(BASE)).diff_id
        store.snapshots.prepare("k", [self.base])
        self.upper = store.root / "snapshots/k/upper"

    def do(self, *operations: Operation) -> None:
        self.store.snapshots.edit("k", operations)

    def copy(self, path: str, destination: str, **more: int) -> None:
        self.do(CopyTree(source=self.source, path=path, destination=destination, **more))  # type: ignore[arg-type]

    def changes(self) -> list[str]:
        return [f"{change.kind} {change.path}" for change in self.store.snapshots.changes("k")]


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Iterator[Desk]:
    context = tmp_path / "context"
    (context / "app/sub").mkdir(parents=True)
    (context / "app/main.py").write_text("print()")
    (context / "app/sub/data").write_bytes(os.urandom(300_000))
    (context / "app/link").symlink_to("../nowhere")
    (context / "to-app").symlink_to("app")
    (context / "escape").symlink_to(tmp_path / "outside")
    os.chown(context / "app/main.py", 1000, 1000)
    os.chmod(context / "app/main.py", 0o4755)
    os.utime(context / "app/main.py", (1000, 1000))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    yield Desk(store, context)
    assert os.listdir(tmp_path / "outside") == ["secret"]
    assert (tmp_path / "outside/secret").read_text() == "secret"


def facts(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def test_make_directory(desk: Desk) -> None:
    desk.do(
        MakeDirectory(path="/a/b/c", mode=0o1777, uid=7, gid=8),
        MakeDirectory(path="/lib/new"),
        MakeDirectory(path="/etc", mode=0o700),
        MakeDirectory(path="/"),
    )
    assert facts(desk.upper / "a/b/c") == (0o1777, 7, 8)
    assert facts(desk.upper / "a") == (0o755, 7, 8)
    assert (desk.upper / "usr/lib/new").is_dir()
    assert "C /etc" not in desk.changes()


def test_write_file(desk: Desk) -> None:
    desk.do(
        WriteFile(path="/run/me.sh", data=b"#!\0\xff", mode=0o755, uid=1, gid=2),
        WriteFile(path="/lib", data=b"x", name="inside"),
        WriteFile(path="/etc/conf", data=b"new", name="conf"),
    )
    assert (desk.upper / "run/me.sh").read_bytes() == b"#!\0\xff"
    assert facts(desk.upper / "run/me.sh") == (0o755, 1, 2)
    assert (desk.upper / "usr/lib/inside").read_bytes() == b"x"
    assert desk.changes().count("C /etc/conf") == 1


def test_copy_a_directorys_contents(desk: Desk) -> None:
    desk.copy("app", "/srv/app")
    assert facts(desk.upper / "srv/app/main.py") == (0o4755, 0, 0)
    assert (desk.upper / "srv/app/main.py").stat().st_mtime == 1000
    assert (desk.upper / "srv/app/sub/data").read_bytes() == (desk.context / "app/sub/data").read_bytes()
    assert os.readlink(desk.upper / "srv/app/link") == "../nowhere"
    assert (desk.upper / "srv/app/sub").stat().st_mtime_ns == (desk.context / "app/sub").stat().st_mtime_ns


def test_copy_through_a_link_named_as_source_and_a_link_as_destination(desk: Desk) -> None:
    desk.copy("to-app", "/lib")
    assert (desk.upper / "usr/lib/main.py").exists()
    assert not (desk.upper / "lib").exists()


@pytest.mark.parametrize(
    ("destination", "result"),
    [
        ("/new.py", "new.py"),
        ("/new/", "new/main.py"),
        ("/lib", "usr/lib/main.py"),
        ("/etc/conf", "etc/conf"),
        ("/a/b", "a/b"),
        ("/", "main.py"),
    ],
)
def test_copy_a_file(desk: Desk, destination: str, result: str) -> None:
    desk.copy("app/main.py", destination)
    assert (desk.upper / result).read_text() == "print()"


def test_copy_with_owner_and_mode(desk: Desk) -> None:
    desk.copy("app", "/x", uid=5, gid=6, mode=0o711)
    assert facts(desk.upper / "x/main.py") == (0o711, 5, 6)
    assert facts(desk.upper / "x/sub") == (0o711, 5, 6)
    assert facts(desk.upper / "x/link")[1:] == (5, 6)
    assert facts(desk.upper / "x") == (0o755, 5, 6)


def test_copy_leaves_out_what_is_to_be_skipped(desk: Desk) -> None:
    operation = CopyTree(source=desk.source, path="/", destination="/c", skip=frozenset({"app/sub", "escape", "to-app"}))
    desk.do(operation)
    assert sorted(os.listdir(desk.upper / "c")) == ["app"]
    assert sorted(os.listdir(desk.upper / "c/app")) == ["link", "main.py"]


def test_copy_over_what_is_there(desk: Desk) -> None:
    desk.copy("app", "/x")
    (desk.context / "app/main.py").write_text("second")
    (desk.context / "app/link").unlink()
    (desk.context / "app/link").write_text("a file now")
    desk.copy("app", "/x")
    assert (desk.upper / "x/main.py").read_text() == "second"
    assert (desk.upper / "x/link").read_text() == "a file now"


def test_copy_from_layers_keeps_owners(desk: Desk) -> None:
    top = desk.store.layers.apply(io.BytesIO(header(b"etc/more", data=b"more", gid=b"0000007\0") + header(b"usr/lib/.wh.keep") + END))
    for number, layers in enumerate([(desk.base,), (desk.base, top.diff_id)]):
        desk.do(CopyTree(source=LayersView(layers=layers), path="/etc", destination=f"/copy{number}"))
    assert facts(desk.upper / "copy0/conf") == (0o640, 5, 0)
    assert sorted(os.listdir(desk.upper / "copy1")) == ["conf", "more"]
    desk.do(CopyTree(source=LayersView(layers=(desk.base, top.diff_id)), path="/lib", destination="/lib2"))
    assert os.listdir(desk.upper / "lib2") == []


def test_links_never_lead_out_of_the_source(desk: Desk) -> None:
    with pytest.raises(NotFound, match="escape"):
        desk.copy("escape/secret", "/stolen")
    with pytest.raises(NotFound):
        desk.copy("../outside/secret", "/stolen")
    desk.copy("escape/../app/main.py", "/inside") if (desk.context / "outside").exists() else None
    assert desk.changes() == []


def test_links_never_lead_out_of_the_snapshot(desk: Desk) -> None:
    desk.copy("app/main.py", "/out/tmp/x")
    assert (desk.upper / "tmp/x").exists()
    assert "A /tmp/x" in desk.changes()


@pytest.mark.parametrize(
    ("path", "destination", "error"),
    [
        ("nothing", "/x", NotFound),
        ("app/main.py/x", "/x", NotFound),
        ("app", "/etc/conf", InvalidArgument),
        ("app/main.py", "/etc/conf/x", InvalidArgument),
        ("clash", "/etc", InvalidArgument),
        ("fifo", "/x", InvalidArgument),
    ],
)
def test_what_cannot_be_copied_is_named(desk: Desk, path: str, destination: str, error: type[Error]) -> None:
    (desk.context / "clash/conf").mkdir(parents=True)
    os.mkfifo(desk.context / "fifo")
    with pytest.raises(error) as caught:
        desk.copy(path, destination)
    assert "/proc/" not in caught.value.message


def test_a_file_does_not_replace_a_directory(desk: Desk) -> None:
    (desk.context / "f").mkdir()
    (desk.context / "f/usr").write_text("x")
    with pytest.raises(InvalidArgument, match="usr"):
        desk.copy("f", "/")


def test_special_files_of_the_host_stay_there(desk: Desk) -> None:
    os.mkfifo(desk.context / "app/fifo")
    os.mknod(desk.context / "app/dev", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    desk.copy("app", "/x")
    assert sorted(os.listdir(desk.upper / "x")) == ["fifo", "link", "main.py", "sub"]


@pytest.mark.parametrize("suffix", ["", ":gz", ":bz2", ":xz"])
def test_extract(desk: Desk, suffix: str) -> None:
    with tarfile.open(desk.context / "a.tar", f"w{suffix}") as tar:  # type: ignore[call-overload]
        tar.add(desk.context / "app", "lib/app")
    desk.do(
        ExtractTar(source=desk.source, path="a.tar", destination="/"), ExtractTar(source=desk.source, path="a.tar", destination="/o", uid=3)
    )
    assert facts(desk.upper / "usr/lib/app/main.py") == (0o4755, 1000, 1000)
    assert facts(desk.upper / "o/lib/app/main.py") == (0o4755, 3, 0)


def test_extract_what_is_no_archive(desk: Desk) -> None:
    with pytest.raises(InvalidDocument):
        desk.do(ExtractTar(source=desk.source, path="app/sub/data", destination="/"))


def test_a_full_disk_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(DiskFull, match="/x"):
        desk.copy("app", "/x")


def test_the_kernel_copies_or_we_do(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_args: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", cannot)
    desk.copy("app", "/x")
    assert (desk.upper / "x/sub/data").read_bytes() == (desk.context / "app/sub/data").read_bytes()


def test_operations_survive_json(desk: Desk) -> None:
    operations: list[Operation] = [
        MakeDirectory(path="/a", mode=0o700, uid=1, gid=2),
        WriteFile(path="/b", data=b"\0\xff", name="n"),
        CopyTree(source=desk.source, path="odd\udcff", destination="/c", uid=1, skip=frozenset({"x", "y"})),
        CopyTree(source=LayersView(layers=(desk.base,)), path="/", destination="/c", mode=0o600),
        ExtractTar(source=desk.source, path="p", destination="/d", gid=4),
    ]
    assert [from_json(json.loads(json.dumps(to_json(operation)))) for operation in operations] == operations


def test_what_is_ready_survives_json_with_its_contents_beside_it(desk: Desk, tmp_path: Path) -> None:
    pieces = {
        "odd\udcff": Piece(content=b"\0\xff" * 70_000, mode=0o100640, mtime_ns=-1, xattrs={"user.a": b"\xff"}),
        "": Piece(content=b"", mode=0o100644, mtime_ns=2),
    }
    operation = CopyTree(source=desk.source, path="p", destination="/c", ready=pieces)
    (tmp_path / "contents").write_bytes(b"".join(piece.content for piece in pieces.values()))
    with open(tmp_path / "contents", "rb") as contents:
        assert from_json(json.loads(json.dumps(to_json(operation))), contents.fileno()) == operation


# an ordinary user

USER_SCRIPT = """
import io, json, os, sys
from pathlib import Path
from notebook_containers.errors import Error
from notebook_containers.store.edit import *
from notebook_containers.store.store import Store
root, context, base = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
with Store.open(root) as store:
    layer = store.layers.apply(open(base, "rb"))
    store.snapshots.prepare("k", [layer.diff_id])
    source = HostDirectory(path=context)
    store.snapshots.edit("k", [
        MakeDirectory(path="/lib/new", uid=7),
        CopyTree(source=source, path="app", destination="/srv"),
        CopyTree(source=LayersView(layers=(layer.diff_id,)), path="/etc", destination="/copied"),
        WriteFile(path="/w", data=b"w", uid=9),
    ])
    try:
        store.snapshots.edit("k", [CopyTree(source=source, path="missing", destination="/srv")])
    except Error as err:
        failure = [type(err).__name__, err.message]
    changes = [f"{c.kind} {c.path}" for c in store.snapshots.changes("k")]
    made = store.snapshots.commit("k")
    store.snapshots.prepare("l", [layer.diff_id, made.diff_id])
    store.snapshots.edit("l", [CopyTree(source=LayersView(layers=(layer.diff_id, made.diff_id)), path="/srv", destination="/again")])
    again = store.snapshots.commit("l")
    store.snapshots.prepare("m", [layer.diff_id, made.diff_id])
    store.snapshots.remove("m")
    print(json.dumps({"failure": failure, "changes": changes, "made": made.diff_id, "again": again.diff_id, "warnings": layer.warnings,
        "tree": str(made.tree), "tar": str(store.content.path(made.blob.digest))}))
"""


@pytest.fixture
def user() -> Iterator[str]:
    """An ordinary user, removed afterwards."""
    name = f"nbc-store-{os.getpid()}"
    nothing_lent = ["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0"]
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", *nothing_lent, name], check=True)
    yield name
    subprocess.run(["userdel", name], check=True, capture_output=True)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that everybody may enter (pytest's own is closed)."""
    path = Path(f"/tmp/nbc-store-test-{os.getpid()}")
    path.mkdir(mode=0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.user
def test_an_ordinary_user(user: str, open_path: Path, tree_environment: dict[str, str]) -> None:
    context = open_path / "context"
    (context / "app/closed").mkdir(parents=True)
    (context / "app/main.py").write_text("print()")
    os.chmod(context / "app/main.py", 0o755)
    os.utime(context / "app/main.py", (1000, 1000))
    (open_path / "base.tar").write_bytes(BASE[:-1024] + header(b"locked/", b"5", mode=b"0000000\0") + header(b"locked/f", data=b"x") + END)
    (open_path / "home").mkdir()
    shutil.chown(open_path / "home", user, user)
    argv: list[str | Path] = ["/usr/bin/python3", "-c", USER_SCRIPT, open_path / "home/root", context, open_path / "base.tar"]
    done = subprocess.run(
        argv, user=user, group=user, extra_groups=[], env=tree_environment, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["failure"] == ["NotFound", "missing is not there"]
    assert "owners other than root were not kept" in told["warnings"][0]
    assert [line for line in told["changes"] if line.startswith("A")] == [
        "A /copied",
        "A /copied/conf",
        "A /srv",
        "A /srv/closed",
        "A /srv/main.py",
        "A /usr/lib/new",
        "A /w",
    ]
    with tarfile.open(told["tar"]) as tar:
        found = {member.name: member for member in tar}
    assert {(member.uid, member.gid) for member in found.values()} == {(0, 0)}
    assert (found["srv/main.py"].mode, found["srv/main.py"].mtime) == (0o755, 1000)
    assert not any("xattr" in key for member in found.values() for key in member.pax_headers)
    assert Path(told["tree"], "srv/main.py").owner() == user
    assert list((open_path / "home/root/trash").glob("*/*")) == []


@pytest.mark.user
def test_root_and_a_user_make_the_same_layer(user: str, open_path: Path, store: Store, tree_environment: dict[str, str]) -> None:
    data = header(b"d/", b"5", mode=b"0000755\0") + END
    (open_path / "base.tar").write_bytes(data)
    script = (
        "import sys; from pathlib import Path; from notebook_containers.store.edit import *\n"
        "from notebook_containers.store.store import Store\n"
        "with Store.open(Path(sys.argv[1])) as s:\n"
        "    base = s.layers.apply(open(sys.argv[2], 'rb')); s.snapshots.prepare('k', [base.diff_id])\n"
        "    s.snapshots.edit('k', [WriteFile(path='/d/f', data=b'x')]); print(s.snapshots.commit('k', epoch=1).diff_id)"
    )
    (open_path / "home").mkdir()
    shutil.chown(open_path / "home", user, user)
    results = []
    for person, root in ((user, open_path / "home/root"), ("root", open_path / "root")):
        argv: list[str | Path] = ["/usr/bin/python3", "-c", script, root, open_path / "base.tar"]
        done = subprocess.run(
            argv, user=person, group=person, extra_groups=[], env=tree_environment, cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        results.append(done.stdout)
    assert results[0] == results[1]


def test_a_worker_that_dies_is_an_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "_PROGRAM", "import sys; {paths!r}; {fd}; {highest}; sys.exit('words')")
    trees = mapped.MappedTrees(idmaps.own_map())
    with pytest.raises(Error, match="words"):
        trees.edit(desk_stack(desk), [MakeDirectory(path="/x")], lambda _layers: desk_stack(desk))
    trees.close()


def desk_stack(desk: Desk) -> Stack:
    return Stack(lowers=(), upper=desk.upper)

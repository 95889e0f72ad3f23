"""SafeRoot: the same contract by openat2 and by the walker, and against a process that swaps directories for links."""

from __future__ import annotations

import errno
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notebook_containers.linux import syscalls
from notebook_containers.linux.delete import remove_tree
from notebook_containers.linux.paths import SafeRoot, create_file, have_openat2
from tests.needs import need

MakeRoot = Callable[..., SafeRoot]


@pytest.fixture(params=["openat2", "walker"])
def root_of(request: pytest.FixtureRequest) -> Iterator[MakeRoot]:
    made: list[SafeRoot] = []
    need(request.param == "walker" or have_openat2(), "openat2")

    def make(path: Path, *, follow: bool = False) -> SafeRoot:
        made.append(SafeRoot.at(path, follow=follow, openat2=request.param == "openat2"))
        return made[-1]

    yield make
    for root in made:
        root.close()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with links of every kind, beside a secret that must never be reached."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("outside")
    root = tmp_path / "root"
    (root / "run/lock").mkdir(parents=True)
    (root / "var").mkdir()
    (root / "run/file").write_text("inside")
    (root / "var/run").symlink_to("/run")
    (root / "up").symlink_to("../../../outside")
    (root / "absolute").symlink_to(tmp_path / "outside")
    (root / "dangling").symlink_to("nowhere/at/all")
    (root / "loop").symlink_to("loop")
    (root / "file-link").symlink_to("run/file")
    return root


def read(root: SafeRoot, path: str) -> str:
    return root.read(path, max_bytes=100).decode()


def failure(root: SafeRoot, path: str, flags: int = os.O_RDONLY) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is the caller's to check
        os.close(root.open(path, flags))
    return caught.value.errno


@pytest.mark.parametrize("path", ["run/file", "/run/file", "./run//file", "run/../run/file", "run/lock/../file"])
def test_plain_paths_are_relative_to_the_root(tree: Path, root_of: MakeRoot, path: str) -> None:
    assert read(root_of(tree), path) == "inside"
    assert read(root_of(tree, follow=True), path) == "inside"


@pytest.mark.parametrize("path", ["var/run/file", "up", "file-link", "loop", "up/secret", "absolute/secret"])
def test_strict_roots_refuse_links(tree: Path, root_of: MakeRoot, path: str) -> None:
    assert failure(root_of(tree), path) == errno.ELOOP


@pytest.mark.parametrize("path", ["..", "../outside/secret", "run/../../outside/secret"])
def test_strict_roots_refuse_the_way_up(tree: Path, root_of: MakeRoot, path: str) -> None:
    assert failure(root_of(tree), path) == errno.EXDEV


def test_followed_links_stay_inside(tree: Path, root_of: MakeRoot) -> None:
    root = root_of(tree, follow=True)
    assert read(root, "var/run/file") == "inside"
    assert read(root, "file-link") == "inside"
    assert read(root, "../../../run/file") == "inside"
    assert failure(root, "up/secret") == errno.ENOENT
    assert failure(root, "absolute/secret") == errno.ENOENT
    assert failure(root, "loop") == errno.ELOOP


def test_magic_links_are_never_followed(root_of: MakeRoot) -> None:
    root = root_of(Path("/proc/self"), follow=True)
    assert failure(root, "cwd/etc/passwd") in (errno.ELOOP, errno.ENOENT)
    assert failure(root, "root/etc/passwd") in (errno.ELOOP, errno.ENOENT)


def test_the_last_link_itself_can_be_looked_at(tree: Path, root_of: MakeRoot) -> None:
    for follow in (False, True):
        root = root_of(tree, follow=follow)
        assert stat.S_ISLNK(root.lstat("up").st_mode)
        assert root.readlink("dangling") == "nowhere/at/all"
        assert root.exists("dangling")
        assert not root.exists("run/nothing")


def test_files_are_not_directories(tree: Path, root_of: MakeRoot) -> None:
    for follow in (False, True):
        root = root_of(tree, follow=follow)
        assert failure(root, "run/file/x") == errno.ENOTDIR
        assert failure(root, "run/file/") == errno.ENOTDIR
        assert not root.exists("run/file/x")


@pytest.mark.parametrize("path", ["", "/", ".", "..", "run/.."])
def test_the_root_itself_is_no_name_to_change(tree: Path, root_of: MakeRoot, path: str) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        root_of(tree).write(path, b"")
    assert caught.value.errno == errno.EINVAL


def test_a_nul_byte_is_an_error(tree: Path, root_of: MakeRoot) -> None:
    assert failure(root_of(tree), "run\0/file") == errno.EINVAL


def test_making_and_changing(tree: Path, root_of: MakeRoot) -> None:
    root = root_of(tree)
    assert root.makedirs("a/b/c", 0o711) == ["/a", "/a/b", "/a/b/c"]
    assert root.makedirs("a/b/c") == []
    assert stat.S_IMODE((tree / "a/b").stat().st_mode) == 0o711
    root.write("a/b/f", b"one", 0o640)
    root.link("a/b/f", "a/g")
    root.symlink("../x", "a/l")
    root.rename("a/g", "a/h")
    assert (tree / "a/h").read_bytes() == b"one"
    assert stat.S_IMODE((tree / "a/h").stat().st_mode) == 0o640
    assert os.readlink(tree / "a/l") == "../x"
    root.remove("a")
    root.remove("a")
    root.remove("a/b/c")
    assert not (tree / "a").exists()


def test_directories_are_made_behind_links_inside(tree: Path, root_of: MakeRoot) -> None:
    root = root_of(tree, follow=True)
    root.makedirs("/var/run/deep/er")
    assert (tree / "run/deep/er").is_dir()
    with pytest.raises(FileNotFoundError):
        root.makedirs("/dangling/x")
    assert not (tree / "nowhere").exists()


def test_writing_replaces_a_link_instead_of_following_it(tree: Path, root_of: MakeRoot, tmp_path: Path) -> None:
    (tree / "trap").symlink_to(tmp_path / "outside/secret")
    for follow in (False, True):
        root_of(tree, follow=follow).write("trap", b"new")
        assert (tmp_path / "outside/secret").read_text() == "outside"
        assert (tree / "trap").read_bytes() == b"new"


def test_only_regular_files_of_bounded_length_are_read(tree: Path, root_of: MakeRoot) -> None:
    os.mkfifo(tree / "fifo")
    (tree / "long").write_bytes(bytes(101))
    for path, number in (("fifo", errno.EINVAL), ("long", errno.EFBIG), ("run", errno.EINVAL)):
        with pytest.raises(OSError, match=r".") as caught:
            root_of(tree).read(path, max_bytes=100)
        assert caught.value.errno in (number, errno.EISDIR)


def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    before = os.umask(0o077)
    try:
        os.close(create_file(fd, "f", 0o4755))
    finally:
        os.umask(before)
        os.close(fd)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o4755


# deletion


@pytest.mark.parametrize(("openat2", "levels"), [(True, 10_000), (False, 1_500)])
def test_ten_thousand_levels_are_deleted(tmp_path: Path, openat2: bool, levels: int) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("deep", dir_fd=here)
    for name in ["deep", *["d"] * levels]:
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        os.mkdir("d", dir_fd=here)
    os.close(here)
    with SafeRoot.at(tmp_path, openat2=openat2) as root:
        root.remove("deep")
    assert os.listdir(tmp_path) == []


def test_links_are_deleted_not_what_they_point_to(tree: Path, root_of: MakeRoot, tmp_path: Path) -> None:
    root_of(tmp_path).remove("root")
    assert not tree.exists()
    assert (tmp_path / "outside/secret").read_text() == "outside"


@pytest.mark.root
def test_deleting_never_crosses_a_mount(tmp_path: Path, root_of: MakeRoot) -> None:
    users = tmp_path / "users"
    users.mkdir()
    (users / "data").write_text("precious")
    target = tmp_path / "tree/a/mounted"
    target.mkdir(parents=True)
    syscalls.mount(str(users), str(target), "", syscalls.MS_BIND)
    try:
        with pytest.raises(OSError, match=r".") as caught:
            root_of(tmp_path).remove("tree")
        assert caught.value.errno == errno.EXDEV
        assert (users / "data").read_text() == "precious"
    finally:
        syscalls.umount2(str(target), syscalls.MNT_DETACH)
    root_of(tmp_path).remove("tree")
    assert (users / "data").read_text() == "precious"


def as_ordinary_user(work: Callable[[], None]) -> int:
    """Run ``work`` in a child without any privilege; return its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.root
@pytest.mark.parametrize("openat2", [True, False])
def test_directories_that_deny_their_owner_are_deleted(tmp_path: Path, openat2: bool) -> None:
    parent = tmp_path / "p"
    (parent / "t/closed/inner").mkdir(parents=True)
    (parent / "t/closed/inner/f").write_text("x")
    for path in (parent, parent / "t", parent / "t/closed", parent / "t/closed/inner"):
        os.chown(path, 65534, 65534)
    os.chmod(parent / "t/closed/inner", 0o500)
    os.chmod(parent / "t/closed", 0)
    fd = os.open(parent, os.O_PATH)
    try:
        assert as_ordinary_user(lambda: remove_tree(fd, "t", openat2=openat2)) == 0
    finally:
        os.close(fd)
    assert not (parent / "t").exists()


# races


@pytest.fixture
def flipper(tmp_path: Path) -> Iterator[Path]:
    """A root whose ``d`` is, from one moment to the next, a directory inside or a link to a directory outside."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f").write_text("outside")
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d/f").write_text("inside")
    (root / "e").symlink_to(tmp_path / "outside")
    one, other = str(root / "d"), str(root / "e")
    child = os.fork()
    if child == 0:
        while True:
            syscalls.renameat2(syscalls.AT_FDCWD, one, syscalls.AT_FDCWD, other, syscalls.RENAME_EXCHANGE)
    yield root
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("follow", [False, True])
def test_a_flipper_cannot_lead_reads_outside(flipper: Path, root_of: MakeRoot, follow: bool) -> None:
    root = root_of(flipper, follow=follow)
    inside = refused = 0
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        try:
            assert root.read("d/f", max_bytes=100) == b"inside"
            inside += 1
        except OSError as err:
            if err.errno not in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EAGAIN):
                raise
            refused += 1
    assert inside > 100
    assert refused > 100


def test_a_flipper_cannot_lead_changes_outside(flipper: Path, root_of: MakeRoot) -> None:
    outside = flipper.parent / "outside"
    root = root_of(flipper)
    done = 0
    end = time.monotonic() + 0.7
    while time.monotonic() < end or (not done and time.monotonic() < end + 30):  # four steps between two flips: on a busy machine rarely
        try:
            root.write("d/new", b"x")
            root.makedirs("d/sub/dir")
            root.remove("d/sub")
            root.remove("d/new")
            done += 1
        except OSError as err:
            if err.errno not in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EAGAIN, errno.ESTALE):
                raise
    assert done > 0
    assert os.listdir(outside) == ["f"]
    assert (outside / "f").read_text() == "outside"


def test_a_flipper_cannot_lead_deletion_outside(flipper: Path, root_of: MakeRoot) -> None:
    outside = flipper.parent / "outside"
    root = root_of(flipper.parent)
    for _ in range(20):
        try:
            root.remove("root")
        except OSError as err:
            if err.errno not in (errno.ENOTEMPTY, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ESTALE):
                raise
    assert (outside / "f").read_text() == "outside"

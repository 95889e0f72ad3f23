"""Mounts as descriptors, and places inside a root that lies."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notebook_containers.linux import mounts, syscalls


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("words", "set_", "clear", "data"),
    [
        (["ro", "nosuid"], 3, 0, []),
        (["ro", "rw"], 0, 1, []),
        (["rw", "ro"], 1, 0, []),
        (["noatime"], 0x10, 0x70, []),
        (["strictatime", "mode=755"], 0x20, 0x70, ["mode=755"]),
        (["noexec", "exec", "nodev"], 4, 8, []),
        (["defaults", "size=64k", ""], 0, 0, ["size=64k"]),
    ],
)
def test_option_words_are_sorted(words: list[str], set_: int, clear: int, data: list[str]) -> None:
    options = mounts.Options(words)
    assert (options.set, options.clear, options.data) == (set_, clear, data)


def test_bind_and_propagation_words() -> None:
    options = mounts.Options(["rbind", "rslave", "rro"])
    assert (options.bind, options.recursive, options.everywhere) == (True, True, True)
    assert (options.propagation, options.propagation_recursive) == (syscalls.MS_SLAVE, True)


@pytest.mark.parametrize(
    ("text", "paths"),
    [("/a:/b", ["/a", "/b"]), (r"/a\:b:/c", ["/a:b", "/c"]), (r"/a\\:/b", ["/a\\", "/b"]), ("/a", ["/a"])],
)
def test_lower_directories_are_split_at_bare_colons(text: str, paths: list[str]) -> None:
    assert mounts.split_paths(text) == paths


@pytest.mark.parametrize(
    ("path", "clean"), [("x", "/x"), ("//x", "/x"), ("/a/../b", "/b"), ("/../../x", "/x"), ("", "/"), ("/a/./b/", "/a/b"), ("///", "/")]
)
def test_places_are_absolute_and_without_dots(path: str, clean: str) -> None:
    assert mounts.inside(path) == clean


def test_links_are_followed_inside_the_root_only(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (root / "abs").symlink_to("/real")
    (root / "up").symlink_to("../../../../../../real")
    with opened(root) as fd:
        for name in ("abs", "up", "real"):
            target = mounts.open_in_root(fd, f"/{name}")
            assert os.fstat(target).st_ino == (root / "real").stat().st_ino
            os.close(target)
        with pytest.raises(OSError, match="Too many levels"):
            mounts.open_in_root(fd, "/abs", links=False)
        (root / "magic").symlink_to("/proc/self/fd/0")
        with pytest.raises(FileNotFoundError):
            mounts.open_in_root(fd, "/magic")


def test_targets_are_made_inside_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "link").symlink_to("/real")
    (root / "dangling").symlink_to("/nowhere/deep")
    with opened(root) as fd:
        os.close(mounts.open_target(fd, "/link/a/b", directory=True))
        assert (root / "real/a/b").is_dir()
        os.close(mounts.open_target(fd, "/real/etc/file", directory=False))
        assert (root / "real/etc/file").is_file()
        os.close(mounts.open_target(fd, "/../../x", directory=True))
        assert (root / "x").is_dir()
        with pytest.raises(OSError, match=r"No such file|File exists|Not a directory"):
            os.close(mounts.open_target(fd, "/dangling/x", directory=True))
        with pytest.raises(OSError, match="Too many levels"):
            os.close(mounts.open_target(fd, "/dangling", directory=False))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["root"]


def test_rt07_a_place_that_is_exchanged_all_the_time_is_never_outside(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "vol/x").mkdir(parents=True)
    outside.mkdir()
    (root / "vol/y").symlink_to("../../outside")
    code = (
        "import ctypes, sys\nlibc = ctypes.CDLL(None)\na, b = (p.encode() for p in sys.argv[1:])\n"
        "while True: libc.renameat2(-100, a, -100, b, 2)"
    )
    flipper = subprocess.Popen([sys.executable, "-c", code, str(root / "vol/x"), str(root / "vol/y")])
    inside = refused = 0
    try:
        with opened(root) as fd:
            end = time.monotonic() + 1.5
            while time.monotonic() < end or not (inside and refused):
                try:
                    target = mounts.open_target(fd, f"/vol/x/{inside % 50}", directory=True)
                except OSError:
                    refused += 1
                    continue
                real = os.readlink(f"/proc/self/fd/{target}")
                os.close(target)
                assert real.startswith(str(root)), real
                inside += 1
    finally:
        flipper.kill()
        flipper.wait()
    assert list(outside.iterdir()) == []
    assert inside > 100
    assert refused > 0


@pytest.mark.root
def test_a_detached_mount_is_attached_to_a_descriptor(tmp_path: Path) -> None:
    tree = mounts.create("tmpfs", "tmpfs", ["nosuid", "ro", "mode=700", "size=64k"])
    with opened(tmp_path) as target:
        mounts.attach(tree, target)
    os.close(tree)
    try:
        (line,) = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {tmp_path} " in line]
        assert line.split()[5].startswith("ro,nosuid")
        assert (os.stat(tmp_path).st_mode & 0o777, os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_bsize) == (0o700, 65536)
    finally:
        syscalls.umount2(str(tmp_path), syscalls.MNT_DETACH)


@pytest.mark.root
def test_overlay_of_150_layers_with_long_names(tmp_path: Path) -> None:
    base = tmp_path / ("x" * 200)
    layers = []
    for number in range(150):
        layer = base / f"layer:{number:03},odd" / "diff"
        layer.mkdir(parents=True)
        (layer / f"file{number}").write_text(str(number))
        (layer / "which").write_text(str(number))
        layers.append(layer)
    for name in ("upper", "work", "merged"):
        (base / name).mkdir()
    lower = ":".join(str(layer).replace(":", r"\:") for layer in reversed(layers))
    tree = mounts.create("overlay", "overlay", [f"lowerdir={lower}", f"upperdir={base}/upper", f"workdir={base}/work", "redirect_dir=off"])
    merged = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=tree)
    try:
        names = os.listdir(merged)
        assert len(names) == 151
        with open("which", opener=lambda name, flags: os.open(name, flags, dir_fd=merged)) as file:
            assert file.read() == "149"
        os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=merged))
        assert (base / "upper/new").exists()
    finally:
        os.close(merged)
        os.close(tree)


@pytest.mark.root
def test_a_filesystem_that_refuses_its_options_says_which(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nonsense") as caught:
        mounts.create("tmpfs", "tmpfs", ["nonsense=1"])
    assert caught.value.filename == "tmpfs"
    with pytest.raises(OSError, match="No such device"):
        mounts.create("nosuchfs", "", [])
    with pytest.raises(FileNotFoundError):
        mounts.create("bind", str(tmp_path / "none"), ["bind"])


def test_the_exchange_call_is_there() -> None:
    assert hasattr(ctypes.CDLL(None), "renameat2")

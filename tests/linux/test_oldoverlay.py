"""Overlay mounts as kernels before 6.5 need them; newer ones take the same calls."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from notebook_containers.linux import mounts, oldoverlay, syscalls

pytestmark = pytest.mark.root


def test_a_hundred_layers_with_long_paths(tmp_path: Path) -> None:
    lowers = []
    for number in range(100):
        directory = tmp_path / ("long" * 40) / f"{number},:x"
        directory.mkdir(parents=True)
        (directory / f"f{number}").write_text("x")
        (directory / "top").write_text(str(number))
        lowers.append(str(directory))
    (tmp_path / "upper").mkdir()
    (tmp_path / "work").mkdir()
    words = [f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work", "metacopy=off", "volatile"]
    fds = len(os.listdir("/proc/self/fd"))
    fd = oldoverlay.create(lowers[::-1], words, syscalls.MS_NOSUID)
    merged = Path(f"/proc/self/fd/{fd}")
    try:
        assert (merged / "top").read_text() == "99"
        assert len(os.listdir(merged)) == 101
        (merged / "new").write_text("x")
        assert os.statvfs(merged).f_flag & os.ST_NOSUID
    finally:
        os.close(fd)
    assert (tmp_path / "upper/new").exists()
    assert len(os.listdir("/proc/self/fd")) == fds


def test_an_old_kernel_gets_there_through_the_ordinary_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = syscalls.fsconfig

    def without_lowerdir_plus(context: int, command: int, key: str = "", value: str = "", aux: int = 0) -> None:
        if key == "lowerdir+":
            raise OSError(22, "Invalid argument")
        real(context, command, key, value, aux)

    for name in ("a", "b:c", "upper", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/f").write_text("x")
    words = [f"lowerdir={tmp_path}/a:{tmp_path}/b\\:c", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work", "nosuid", "nodev"]
    monkeypatch.setattr(syscalls, "fsconfig", without_lowerdir_plus)
    with pytest.raises(OSError, match=r".+"):
        mounts.create("overlay", "overlay", words)
    monkeypatch.setattr(oldoverlay, "needed", lambda: True)
    fd = mounts.create("overlay", "overlay", words)
    try:
        assert Path(f"/proc/self/fd/{fd}/f").read_text() == "x"
        assert os.statvfs(f"/proc/self/fd/{fd}").f_flag & os.ST_NODEV
    finally:
        os.close(fd)


def test_a_refusal_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="mount"):
        oldoverlay.create([str(tmp_path)], ["nonsense=1"], 0)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()

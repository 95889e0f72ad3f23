"""Overlay mounts as kernels before 6.5 need them; newer ones take the same calls."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from notebook_containers.linux import oldoverlay, syscalls

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
    try:
        assert Path(f"/proc/self/fd/{fd}/top").read_text() == "99"
        assert len(os.listdir(fd_path := f"/proc/self/fd/{fd}")) == 101
        Path(fd_path, "new").write_text("x")
        assert os.statvfs(fd_path).f_flag & os.ST_NOSUID
    finally:
        os.close(fd)
    assert (tmp_path / "upper/new").exists()
    assert len(os.listdir("/proc/self/fd")) == fds


def test_a_refusal_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="mount"):
        oldoverlay.create([str(tmp_path)], ["nonsense=1"], 0)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()

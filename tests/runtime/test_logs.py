"""The log file alone: format, rotation, tail, torn ends, a full disk."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from notebook_containers.runtime.logfile import LogFile
from notebook_containers.runtime.logs import read_log


def write(path: Path, *chunks: bytes, max_bytes: int = 1_000_000, max_files: int = 3) -> None:
    file = LogFile(str(path), max_bytes=max_bytes, max_files=max_files)
    for chunk in chunks:
        file.write("stdout", chunk)
    file.close()


def test_the_format_is_one_line_per_entry(tmp_path: Path) -> None:
    write(tmp_path / "log", b"one\ntwo\npart")
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert [line.split(b" ", 1)[1] for line in lines] == [b"stdout F one", b"stdout F two", b"stdout P part"]
    assert len(lines[0].split(b" ")[0]) == len("2026-01-02T03:04:05.123456789Z")


@pytest.mark.parametrize("data", [b"", b"\n", b"\n\n", b"a b  c\n", bytes(range(256)), b"\xff\xfe\n\0", b"stdout F x\n"])
def test_every_byte_comes_back(tmp_path: Path, data: bytes) -> None:
    write(tmp_path / "log", data)
    assert b"".join(line.data for line in read_log(tmp_path / "log")) == data


def test_time_is_read_as_it_was_written(tmp_path: Path) -> None:
    before = time.time()
    write(tmp_path / "log", b"x\n")
    (line,) = read_log(tmp_path / "log")
    assert before - 0.001 <= line.time <= time.time() + 0.001


def test_rotation_bounds_the_disk_and_keeps_the_newest(tmp_path: Path) -> None:
    write(tmp_path / "log", *(b"%06d\n" % number for number in range(2000)), max_bytes=10_000, max_files=3)
    files = sorted(entry.name for entry in tmp_path.iterdir())
    assert files == ["log", "log.1", "log.2"]
    assert all((tmp_path / name).stat().st_size <= 10_000 for name in files)
    numbers = [int(line.data) for line in read_log(tmp_path / "log")]
    assert numbers == list(range(numbers[0], 2000))
    assert len(numbers) > 400


def test_one_file_starts_anew(tmp_path: Path) -> None:
    write(tmp_path / "log", *(b"%06d\n" % number for number in range(500)), max_bytes=5_000, max_files=1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]
    assert list(read_log(tmp_path / "log"))[-1].data == b"000499\n"


@pytest.mark.parametrize("tail", [0, 1, 2, 999, 1000, 5000])
def test_tail_counts_complete_lines_over_rotated_files(tmp_path: Path, tail: int) -> None:
    write(tmp_path / "log", *(b"%d" % number + b"x" * 100 + b"\n" for number in range(1000)), max_bytes=30_000, max_files=20)
    got = [int(line.data.split(b"x")[0]) for line in read_log(tmp_path / "log", tail=tail)]
    assert got == list(range(max(1000 - tail, 0), 1000))


def test_tail_takes_the_pieces_of_a_line_together(tmp_path: Path) -> None:
    write(tmp_path / "log", b"one\n", b"tw", b"o\n", b"thr")
    assert b"".join(line.data for line in read_log(tmp_path / "log", tail=2)) == b"two\nthr"
    assert b"".join(line.data for line in read_log(tmp_path / "log", tail=1)) == b"thr"


def test_since_and_until_bound_the_time(tmp_path: Path) -> None:
    lines = [b"2026-01-0%dT00:00:00.000000000Z stdout F %d\n" % (day, day) for day in range(1, 6)]
    (tmp_path / "log").write_bytes(b"".join(lines))
    day = 86400
    first = next(iter(read_log(tmp_path / "log"))).time
    assert first == 1767225600.0
    assert [line.data for line in read_log(tmp_path / "log", since=first + day, until=first + 2 * day)] == [b"2\n", b"3\n"]


def test_a_torn_end_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"rubbish\n2026-01-01T00:00:00.0Z stdout F good\n2026-13-99T0 stdout F x\n2026-01-01T00:00:00.0Z std")
    assert [line.data for line in read_log(tmp_path / "log")] == [b"good\n"]
    assert [line.data for line in read_log(tmp_path / "log", tail=2)] in ([], [b"good\n"])


def test_no_log_is_empty(tmp_path: Path) -> None:
    assert list(read_log(tmp_path / "none")) == []
    assert list(read_log(tmp_path / "none", tail=5)) == []
    assert list(read_log(tmp_path / "none", follow=True, alive=lambda: False)) == []


def test_tail_of_a_large_file_reads_only_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "log", *[b"x" * 1000 + b"\n"] * 5000, max_bytes=100_000_000)
    read = 0
    true_pread = os.pread

    def counting(fd: int, size: int, offset: int) -> bytes:
        nonlocal read
        read += size
        return true_pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", counting)
    assert len(list(read_log(tmp_path / "log", tail=10))) == 10
    assert read <= 200_000


def test_a_full_disk_loses_lines_and_says_how_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LogFile(str(tmp_path / "log"), max_bytes=1_000_000, max_files=3)
    file.write("stdout", b"before\n")
    with monkeypatch.context() as patch:

        def full(_fd: int, _parts: Sequence[bytes]) -> int:
            raise OSError(errno.ENOSPC, "no space")

        patch.setattr(os, "writev", full)
        file.write("stdout", b"lost\n")
        file.write("stdout", b"lost too\n")
    file.write("stderr", b"after\n")
    file.close()
    assert [line.data for line in read_log(tmp_path / "log")] == [
        b"before\n",
        b"[14 bytes of log are lost: the disk was full]\n",
        b"after\n",
    ]


@pytest.mark.parametrize("torn", [b"2026-01-01T00:00:00.0Z stdout F ha", b"2026", b"2026-01-01T00:00:00.0Z stdout P " + b"x" * 200_000])
def test_rel23_a_line_that_a_killed_monitor_left_half_written_does_not_swallow_the_next(tmp_path: Path, torn: bytes) -> None:
    write(tmp_path / "log", b"one\n")
    with open(tmp_path / "log", "ab") as file:
        file.write(torn)
    write(tmp_path / "log", b"two\n")
    assert [line.data for line in read_log(tmp_path / "log")] == [b"one\n", b"two\n"]


def test_nothing_but_half_a_line_is_taken_away_whole(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"2026")
    write(tmp_path / "log", b"two\n")
    assert [line.data for line in read_log(tmp_path / "log")] == [b"two\n"]

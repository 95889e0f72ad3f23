"""CP-01 to CP-05 and CP-08: what a container, an archive or a race may not reach while files are copied."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine import copying
from notebook_containers.engine.container import Container
from notebook_containers.errors import DiskFull, Error, InvalidArgument, InvalidDocument, StoreError
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store.tar_reader import TarReader
from notebook_containers.store.tree_tar import send_tree
from notebook_containers.store.unpack import Rules, unpack
from tests.engine.tars import contents, members, tar
from tests.home import BASE
from tests.needs import need

pytestmark = pytest.mark.root

RACES = 1000
RENAMEAT2, RENAME_EXCHANGE = (316 if os.uname().machine == "x86_64" else 276), 2


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory outside, which must be as it was afterwards."""
    outside = tmp_path / "canary"
    outside.mkdir()
    (outside / "file").write_bytes(b"OUTSIDE")
    before = _look(outside)
    yield outside
    assert _look(outside) == before


def _look(path: Path) -> list[tuple[str, int, int, int, bytes]]:
    found = [(p.name, (s := p.lstat()).st_mode, s.st_uid, s.st_mtime_ns, p.read_bytes()) for p in sorted(path.iterdir())]
    return [*found, ("", path.stat().st_mode, path.stat().st_uid, path.stat().st_mtime_ns, b"")]


@contextmanager
def flipping(directory: Path, outside: Path) -> Iterator[None]:
    """Let ``race`` in the directory be, in turn, a directory with a file and a link to the outside, as fast as can be."""
    (directory / "race").mkdir()
    (directory / "race" / "file").write_bytes(b"inside")
    (directory / "other").symlink_to(outside)
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None)
        one, two = os.fsencode(directory / "race"), os.fsencode(directory / "other")
        while True:
            libc.syscall(ctypes.c_long(RENAMEAT2), -100, one, -100, two, RENAME_EXCHANGE)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_cp01_a_race_reads_nothing_outside(tmp_path: Path, canary: Path) -> None:
    inside = tmp_path / "rootfs"
    inside.mkdir()
    seen = {b"inside": 0, b"none": 0}
    with flipping(inside, canary), SafeRoot.at(inside, follow=True) as root:
        for _ in range(RACES):
            for path in ("/race/file", "/race"):
                pieces: list[bytes] = []
                with suppress(OSError):
                    send_tree(root, path, pieces.append, name="x")
                    data = b"".join(pieces)
                    assert b"OUTSIDE" not in data
                    seen[b"inside" if b"inside" in data else b"none"] += 1
    assert seen[b"inside"] > RACES // 20, "the race proves nothing"
    assert seen[b"none"] > 0, "the race proves nothing"


def test_cp01_a_race_writes_nothing_outside(tmp_path: Path, canary: Path) -> None:
    inside = tmp_path / "rootfs"
    inside.mkdir()
    data = tar(
        ("race", {"type": b"5", "mode": 0o700, "uid": 99}), ("race/file", b"inside"), ("race/new", b"x"),
        ("race/fifo", {"type": b"6", "mode": 0o777}), ("race/link", "/etc"), ("race/sub/deep", b"y"),
    )  # fmt: skip
    written = 0
    with flipping(inside, canary), SafeRoot.at(inside, follow=True) as root:
        import io

        for _ in range(RACES):
            with suppress(OSError, Error):
                unpack(TarReader(io.BytesIO(data)), root, Rules(layer=False, single_id=False))
                written += 1
    assert written > RACES // 50, "the race proves nothing"


def test_cp01_whole_copies_of_a_running_container(engine: Engine, canary: Path) -> None:
    box = engine.containers.run(BASE, ["sleep", "1000"], network="none", volumes=["data:/data"], detach=True, stop_timeout=0)
    assert isinstance(box, Container)
    good = 0
    with flipping(engine.volumes.get("data").path, canary):
        for _ in range(25):
            with suppress(Error):
                box.put_archive("/data/race", tar(("file", b"inside")))
                assert b"OUTSIDE" not in b"".join(contents(box.get_archive("/data/race/file")[0]).values())
                good += 1
    assert good > 0, "the race proves nothing"


def _archivers() -> list[int]:
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() and b"engine.archiver" in Path(f"/proc/{name}/cmdline").read_bytes():
                found.append(int(name))
    return found


@pytest.mark.parametrize("running", [True, False])
def test_cp02_nothing_of_the_container_is_loaded(engine: Engine, running: bool) -> None:
    """The archiver's root is this machine's, and every file it has mapped is the machine's too (CVE-2019-14271, CVE-2026-41567)."""
    trojan = b"raise SystemExit(open('/tmp/nbc-trojan', 'w'))"
    box = engine.containers.create(BASE, ["sleep", "1000"], network="none", stop_timeout=0)
    names = [
        f"usr/lib/python3{version}/{module}" for version in ("", ".11", ".12") for module in ("encodings/idna.py", "pwd.py", "lzma.py")
    ]
    box.put_archive("/", tar(*((name, trojan) for name in names), ("usr/bin/tar", trojan), ("usr/bin/xz", trojan), mode="w:xz"))
    if running:
        box.start()
    before = set(_archivers())
    stream, _status = box.get_archive("/usr")
    next(stream)
    (pid,) = set(_archivers()) - before
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    mapped = {line.split()[5] for line in maps if len(line.split()) > 5 and line.split()[5].startswith("/")}
    devices = {os.stat(path).st_dev for path in mapped}
    assert os.stat(f"/proc/{pid}/root").st_ino == os.stat("/").st_ino
    assert os.stat(f"/proc/{pid}/root").st_dev == os.stat("/").st_dev
    lines = {line.split()[3] for line in maps if len(line.split()) > 5 and line.split()[5].startswith("/")}
    assert lines <= {f"{os.major(d):02x}:{os.minor(d):02x}" for d in devices}
    b"".join(stream)
    assert not Path("/tmp/nbc-trojan").exists()


def test_cp02_no_program_is_started(engine: Engine, sleeper: Container) -> None:
    """One process is made for a copy, the archiver, and it starts none."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from notebook_containers import Engine
with Engine({str(engine.root)!r}, {str(engine.run_dir)!r}) as engine:
    engine.containers.get({sleeper.id!r}).put_archive("/tmp", open(0, "rb").read())
"""
    import shutil
    import sys

    need(shutil.which("strace"), "strace")
    traced = ["strace", "-f", "-qq", "-e", "trace=execve", "-e", "signal=none", sys.executable, "-c", code]
    done = subprocess.run(traced, input=tar(("a", b"1"), mode="w:xz"), capture_output=True, check=True, timeout=60)
    calls = [line for line in done.stderr.decode().splitlines() if "execve(" in line]
    assert len(calls) == 2, calls


def test_cp03_a_swapped_mount_point_leads_nowhere(engine: Engine, canary: Path) -> None:
    """The image's mount point is a link to the outside: it is followed inside, and nothing is mounted on this machine (CVE-2026-42306)."""
    box = engine.containers.create(BASE, ["true"], network="none", volumes=["data:/data/sub"])
    box.put_archive("/tmp", tar(("a", b"1")))
    upper = engine.root / "snapshots" / box.id / "upper"
    for path in (upper / "data", upper / "data" / "sub"):
        if path.is_dir():
            subprocess.run(["rm", "-rf", str(upper / "data")], check=True)
    (upper / "data").symlink_to(canary)
    before = Path("/proc/self/mountinfo").read_text()
    stream, _status = box.get_archive("/")
    next(stream)
    assert Path("/proc/self/mountinfo").read_text() == before
    b"".join(stream)
    box.put_archive("/tmp", tar(("b", b"2")))
    assert Path("/proc/self/mountinfo").read_text() == before


def test_cp04_what_the_client_unpacks_stays_in_its_place(tmp_path: Path, canary: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    evil = [
        tar(("../escaped", b"x")),
        tar(("a/../../escaped", b"x")),
        tar(("link", str(canary)), ("link/file", b"x")),
        tar(("hard", {"type": b"1", "linkname": "../canary/file"})),
    ]
    for data in evil:
        with pytest.raises(InvalidDocument):
            copying.unpack_here(iter([data]), str(here), archive_mode=True)
    copying.unpack_here(iter([tar((str(canary / "file"), b"x"))]), str(here), archive_mode=True)
    assert (here / str(canary).lstrip("/") / "file").read_bytes() == b"x"
    assert not (tmp_path / "escaped").exists()
    started = time.monotonic()
    copying.unpack_here(iter([tar(("fifo", {"type": b"6"}))]), str(here), archive_mode=True)
    assert stat.S_ISFIFO((here / "fifo").stat().st_mode)
    assert time.monotonic() - started < 5
    lie = tarfile.TarInfo("big")
    lie.size = 1 << 60
    with pytest.raises(DiskFull):
        copying.unpack_here(iter([lie.tobuf(tarfile.GNU_FORMAT)]), str(here), archive_mode=True)


def test_cp05_an_archive_that_writes_through_its_own_link(engine: Engine, sleeper: Container, canary: Path) -> None:
    """It may write anywhere in the container, which is its owner's, and nowhere else."""
    sleeper.exec_run(["mkdir", "-p", str(canary)])
    sleeper.put_archive("/tmp", tar(("evil", str(canary)), ("evil/file", b"in the container")))
    assert sleeper.exec_run(["cat", str(canary / "file")]).output == b"in the container"
    sleeper.put_archive("/tmp", tar(("up", "../../../../../../.."), ("up/file", b"x")))
    assert sleeper.exec_run(["cat", "/file"]).output == b"x"


SPECIAL = (
    ("char", {"type": b"3", "devmajor": 1, "devminor": 3, "mode": 0o620}),
    ("block", {"type": b"4", "devmajor": 7, "devminor": 0, "mode": 0o600, "uid": 3}),
    ("fifo", {"type": b"6", "mode": 0o4711 & 0o777}),
    ("one/file", b"linked"),
    ("two", {"type": b"5", "mode": 0o1777}),
    ("two/hard", {"type": b"1", "linkname": "one/file"}),
    ("new\nline", b"1"),
    ("bad-\udcff-utf8", b"2"),
    ("n" * 255, b"3"),
    ("old", {"mtime": -1000}),
    ("late", {"mtime": 5_000_000_000}),
    ("caps", {"pax_headers": {"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00" + "\x00" * 12}}),
    ("mine", {"pax_headers": {"SCHILY.xattr.user.note": "kept"}}),
)


def test_cp08_special_files_come_back_as_they_were(engine: Engine) -> None:
    box = engine.containers.create(BASE, ["sleep", "1000"], network="none", stop_timeout=0)
    box.put_archive("/tmp", tar(*((f"s/{name}", value) for name, value in _rooted())))
    image = box.commit("special", "1")
    again = engine.containers.create("special:1", ["sleep", "1000"], network="none", stop_timeout=0)
    try:
        for found in (box, again):
            _check_special(found)
        again.start()
        _check_special(again)
        assert {n.removeprefix("./") for n in members(again.export())} >= {"tmp/s/char", "tmp/s/two/hard"}
    finally:
        again.remove(force=True)
        box.remove()
        engine.images.remove(image.id, force=True)


def _rooted() -> Iterator[tuple[str, bytes | str | dict[str, object]]]:
    for name, value in SPECIAL:
        if isinstance(value, dict) and "linkname" in value:
            yield name, {**value, "linkname": f"s/{value['linkname']}"}
        else:
            yield name, dict(value) if isinstance(value, dict) else value


def _check_special(box: Container) -> None:
    data = b"".join(box.get_archive("/tmp/s")[0])
    found, files = members(data), contents(data)
    char, block = found["s/char"], found["s/block"]
    assert (char.ischr(), char.devmajor, char.devminor, char.mode) == (True, 1, 3, 0o620)
    assert (block.isblk(), block.devmajor, block.devminor, block.uid) == (True, 7, 0, 3)
    assert found["s/fifo"].isfifo()
    links = [found["s/one/file"], found["s/two/hard"]]
    assert sorted(link.islnk() for link in links) == [False, True]
    assert found["s/two"].mode == 0o1777
    assert (files["s/new\nline"], files["s/bad-\udcff-utf8"], files[f"s/{'n' * 255}"]) == (b"1", b"2", b"3")
    assert (found["s/old"].mtime, found["s/late"].mtime) == (-1000, 5_000_000_000)
    assert found["s/mine"].pax_headers["SCHILY.xattr.user.note"] == "kept"
    assert "SCHILY.xattr.security.capability" in found["s/caps"].pax_headers


def test_cp08_a_socket_is_left_out_and_said(engine: Engine, tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        box = engine.containers.create(BASE, ["true"], network="none")
        (warning,) = box.copy_to(tmp_path, "/tmp/dir")
    assert "the socket" in warning
    assert box.stat_path("/tmp/dir")["name"] == "dir"


def test_cp08_files_of_holes_are_refused_before_they_fill_anything(engine: Engine, sleeper: Container) -> None:
    huge = sleeper.exec_run(["truncate", "-s", "7E", "/tmp/huge"])
    if huge.exit_code:
        assert sleeper.exec_run(["truncate", "-s", "15T", "/tmp/huge"]).exit_code == 0
    started = time.monotonic()
    with pytest.raises(DiskFull, match="/tmp/huge"):
        sleeper.commit("never")
    with pytest.raises(StoreError, match="holes"):
        b"".join(sleeper.get_archive("/tmp")[0])
    assert time.monotonic() - started < 20
    assert sleeper.status == "running"


def test_overlays_own_marks_do_not_travel(engine: Engine) -> None:
    """A container cannot plant overlay's attributes or deletions in an image (RT-26)."""
    box = engine.containers.create(BASE, ["true"], network="none")
    planted = {"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.redirect": "/etc"}
    marked: dict[str, object] = {"type": b"5", "pax_headers": planted}
    box.put_archive("/tmp", tar(("d", marked), ("gone", {"type": b"3", "devmajor": 0, "devminor": 0})))
    found = members(box.get_archive("/tmp")[0])
    assert set(found) == {"tmp", "tmp/d"}
    assert not [key for key in found["tmp/d"].pax_headers if "overlay" in key]


def test_names_that_mean_deletions_are_refused_by_commit(engine: Engine) -> None:
    box = engine.containers.create(BASE, ["true"], network="none")
    box.put_archive("/tmp", tar((".wh.passwd", b"")))
    with pytest.raises((StoreError, InvalidArgument), match=r"\.wh\."):
        box.commit("never")

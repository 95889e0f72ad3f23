"""Files in and out of containers, running or not: docker-py's archives, docker cp's rules, volumes and tmpfs seen."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import Conflict, InvalidArgument, InvalidDocument, NotFound
from tests.engine.tars import contents, members, tar
from tests.home import BASE

pytestmark = pytest.mark.root


@pytest.fixture(params=["created", "running", "paused", "exited"])
def box(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Container]:
    """A container with a volume and a tmpfs, in each of its states."""
    made = engine.containers.create(BASE, ["sleep", "1000"], network="none", volumes=["data:/data"], tmpfs={"/scratch": ""}, stop_timeout=1)
    if request.param != "created":
        made.start()
    if request.param == "exited":
        made.stop(timeout=0)
    if request.param == "paused":
        made.pause()
    yield made
    made.reload()
    if made.status == "paused":
        made.unpause()


def put(box: Container, path: str, **files: bytes) -> None:
    assert box.put_archive(path, tar(*files.items()))


def read(box: Container, path: str) -> dict[str, bytes]:
    return contents(box.get_archive(path)[0])


def test_what_is_put_comes_back(box: Container) -> None:
    put(box, "/tmp", note=b"hello")
    stream, status = box.get_archive("/tmp/note")
    assert contents(stream) == {"note": b"hello"}
    assert (status["name"], status["size"], status["mode"], status["linkTarget"]) == ("note", 5, 0o644, "")
    assert box.stat_path("/tmp")["mode"] == 1 << 31 | 1 << 20 | 0o777


def test_a_volume_is_seen_in_every_state(box: Container, engine: Engine) -> None:
    put(box, "/data", inside=b"volume")
    assert (engine.volumes.get("data").path / "inside").read_bytes() == b"volume"
    assert read(box, "/data") == {"data/inside": b"volume"}


def test_a_name_of_the_running_container_is_seen_inside(engine: Engine, sleeper: Container) -> None:
    put(sleeper, "/root", note=b"hello")
    assert sleeper.exec_run(["cat", "/root/note"]).output == b"hello"


def test_tmpfs_is_seen_while_it_runs(engine: Engine) -> None:
    box = engine.containers.run(BASE, ["sleep", "1000"], network="none", tmpfs={"/scratch": ""}, detach=True, stop_timeout=1)
    assert isinstance(box, Container)
    box.exec_run(["sh", "-c", "echo x > /scratch/x"])
    assert read(box, "/scratch") == {"scratch/x": b"x\n"}
    put(box, "/scratch", y=b"y")
    assert box.exec_run(["cat", "/scratch/y"]).output == b"y"


def test_a_container_that_changed_its_root_is_seen_whole(engine: Engine) -> None:
    script = "mkdir /jail; cp -r /bin /lib /lib64 /usr /jail/ 2>/dev/null; exec chroot /jail sleep 1000"
    box = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, stop_timeout=0)
    assert isinstance(box, Container)
    for _ in range(100):
        if b"chroot" not in box.exec_run(["cat", "/proc/1/cmdline"]).output and b"sleep" in box.exec_run(["cat", "/proc/1/comm"]).output:
            break
    assert "jail/bin" in members(box.get_archive("/jail")[0])


def test_the_kernels_directories_are_not_read(engine: Engine, sleeper: Container) -> None:
    names = members(sleeper.get_archive("/")[0])
    assert "./proc" in names or "proc" in names
    assert not [name for name in names if name.removeprefix("./").startswith(("proc/", "sys/", "dev/"))]
    assert any(name.endswith("etc/passwd") for name in names)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_compressed_archives_are_unpacked(engine: Engine, sleeper: Container, kind: str) -> None:
    sleeper.put_archive("/tmp", io.BytesIO(tar(("a", b"1"), mode=f"w:{kind}")))
    assert read(sleeper, "/tmp/a") == {"a": b"1"}


def test_an_archive_may_come_in_pieces(engine: Engine, sleeper: Container) -> None:
    data = tar(("a", b"x" * 100_000))
    sleeper.put_archive("/tmp", (data[at : at + 777] for at in range(0, len(data), 777)))
    assert len(read(sleeper, "/tmp/a")["a"]) == 100_000


def test_owners_and_modes_are_the_archives(box: Container) -> None:
    box.put_archive("/tmp", tar(("d", {"type": b"5", "uid": 7, "gid": 8, "mode": 0o2750}), ("f", {"uid": 9, "gid": 10, "mode": 0o4711})))
    found = {**members(box.get_archive("/tmp/d")[0]), **members(box.get_archive("/tmp/f")[0])}
    assert (found["d"].uid, found["d"].gid, found["d"].mode) == (7, 8, 0o2750)
    assert (found["f"].uid, found["f"].gid, found["f"].mode) == (9, 10, 0o4711)


def test_what_cannot_be_is_refused(box: Container) -> None:
    with pytest.raises(NotFound, match="there is no /nowhere in the container"):
        box.get_archive("/nowhere")
    with pytest.raises(NotFound, match="there is no /nowhere in the container"):
        put(box, "/nowhere", a=b"")
    with pytest.raises(InvalidArgument, match="not a directory"):
        put(box, "/etc/passwd", a=b"")
    with pytest.raises(InvalidDocument):
        box.put_archive("/tmp", b"no archive at all" * 100)
    with pytest.raises(Conflict, match="/etc/hosts cannot be replaced: something is mounted there"):
        put(box, "/etc", hosts=b"")


def test_a_mount_is_not_undone_by_a_copy(engine: Engine) -> None:
    box = engine.containers.run(BASE, ["sleep", "1000"], network="none", volumes=["data:/data"], detach=True, stop_timeout=1)
    assert isinstance(box, Container)
    with pytest.raises(Conflict, match="something is mounted"):
        box.put_archive("/", tar(("data", b"a file")))
    assert b" /data " in box.exec_run(["cat", "/proc/self/mounts"]).output


def test_read_only_places_stay_as_they_are(engine: Engine, tmp_path: Path) -> None:
    box = engine.containers.create(BASE, ["sleep", "1000"], network="none", read_only=True, volumes=[f"{tmp_path}:/ro:ro", "data:/rw"])
    for _ in range(2):
        for path in ("/tmp", "/ro"):
            with pytest.raises(Conflict, match="mounted read-only"):
                put(box, path, a=b"1")
        put(box, "/rw", a=b"1")
        box.start()
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_is_not_finished_holds_nothing_up(engine: Engine, sleeper: Container) -> None:
    stream, _status = sleeper.get_archive("/usr")
    next(stream)
    sleeper.stop(timeout=0)
    sleeper.start()
    put(sleeper, "/tmp", a=b"1")
    assert sleeper.exec_run(["cat", "/tmp/a"]).output == b"1"
    stream.close()  # type: ignore[attr-defined]


def test_reading_a_container_that_ends_keeps_its_mounts(engine: Engine) -> None:
    box = engine.containers.run(BASE, ["sleep", "1000"], network="none", volumes=["data:/data"], detach=True, stop_timeout=0)
    assert isinstance(box, Container)
    box.put_archive("/data", tar(*((f"f{n}", bytes(100_000)) for n in range(40))))
    stream, _status = box.get_archive("/data")
    first = next(stream)
    box.stop(timeout=0)
    assert len(contents(first + b"".join(stream))) == 40


# -- docker cp's rules ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def local(tmp_path: Path) -> Path:
    (tmp_path / "dir" / "sub").mkdir(parents=True)
    (tmp_path / "dir" / "a").write_bytes(b"a")
    (tmp_path / "dir" / "sub" / "b").write_bytes(b"b")
    (tmp_path / "file").write_bytes(b"file")
    (tmp_path / "link").symlink_to("file")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("file", "/tmp/new", {"new"}),
        ("file", "/tmp", {"file"}),
        ("file", "/tmp/", {"file"}),
        ("dir", "/tmp/new", {"new/a", "new/sub/b"}),
        ("dir", "/tmp", {"dir/a", "dir/sub/b"}),
        ("dir/.", "/tmp", {"a", "sub/b"}),
        ("dir/", "/tmp", {"dir/a", "dir/sub/b"}),
        ("dir/.", "/tmp/new", {"new/a", "new/sub/b"}),
    ],
)
def test_cp_in_follows_dockers_rules(engine: Engine, sleeper: Container, local: Path, source: str, target: str, expected: set[str]) -> None:
    assert sleeper.copy_to(f"{local}/{source}", target) == []
    found = {name.removeprefix("tmp/") for name in read(sleeper, "/tmp")}
    assert found == expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("/t/file", "new", {"new"}),
        ("/t/file", "here", {"here/file"}),
        ("/t/dir", "new", {"new/a", "new/sub/b"}),
        ("/t/dir", "here", {"here/dir/a", "here/dir/sub/b"}),
        ("/t/dir/.", "here", {"here/a", "here/sub/b"}),
        ("/t/dir/.", "new", {"new/a", "new/sub/b"}),
    ],
)
def test_cp_out_follows_dockers_rules(
    engine: Engine, sleeper: Container, local: Path, tmp_path_factory: pytest.TempPathFactory, source: str, target: str, expected: set[str]
) -> None:
    sleeper.copy_to(local, "/t")
    out = tmp_path_factory.mktemp("out")
    (out / "here").mkdir()
    assert sleeper.copy_from(source, out / target) == []
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == expected


def test_cp_refuses_what_docker_refuses(engine: Engine, sleeper: Container, local: Path) -> None:
    with pytest.raises(InvalidArgument, match="is not a directory"):
        sleeper.copy_to(local / "dir", "/etc/passwd")
    with pytest.raises(InvalidArgument, match="does not exist"):
        sleeper.copy_to(local / "file", "/nowhere/")
    with pytest.raises(NotFound, match="/nowhere is no directory"):
        sleeper.copy_to(local / "file", "/nowhere/file")
    with pytest.raises(NotFound, match="there is no"):
        sleeper.copy_to(local / "missing", "/tmp")
    sleeper.exec_run(["mkdir", "/tmp/file"])
    with pytest.raises(InvalidArgument, match="cannot become a file"):
        sleeper.copy_to(local / "file", "/tmp")


def test_cp_links_are_kept_or_followed(engine: Engine, sleeper: Container, local: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    sleeper.copy_to(local / "link", "/tmp/kept")
    sleeper.copy_to(local / "link", "/tmp/followed", follow=True)
    assert sleeper.exec_run(["readlink", "/tmp/kept"]).output == b"file\n"
    assert sleeper.stat_path("/tmp/kept")["linkTarget"] == "/tmp/file"
    assert read(sleeper, "/tmp/followed") == {"followed": b"file"}
    out = tmp_path_factory.mktemp("out")
    sleeper.exec_run(["ln", "-s", "/tmp/followed", "/root/link"])
    sleeper.copy_from("/root/link", out / "kept")
    sleeper.copy_from("/root/link", out / "followed", follow=True)
    assert os.readlink(out / "kept") == "/tmp/followed"
    assert (out / "followed").read_bytes() == b"file"


def test_cp_through_a_link_to_a_file_writes_its_target(engine: Engine, sleeper: Container, local: Path) -> None:
    sleeper.exec_run(["sh", "-c", "echo old > /tmp/target; ln -s /tmp/target /root/link"])
    sleeper.copy_to(local / "file", "/root/link")
    assert sleeper.exec_run(["sh", "-c", "readlink /root/link; cat /tmp/target"]).output == b"/tmp/target\nfile"


def test_cp_gives_files_to_root_unless_archive_is_asked(engine: Engine, sleeper: Container, local: Path) -> None:
    os.chown(local / "file", 1234, 4321)
    sleeper.copy_to(local / "file", "/tmp/plain")
    sleeper.copy_to(local / "file", "/tmp/archive", archive=True)
    assert sleeper.exec_run(["stat", "-c", "%u:%g", "/tmp/plain", "/tmp/archive"]).output == b"0:0\n1234:4321\n"


def test_export_has_the_image_the_changes_and_no_mount(engine: Engine) -> None:
    box = engine.containers.run(BASE, ["sleep", "1000"], network="none", volumes=["data:/data"], detach=True, stop_timeout=1)
    assert isinstance(box, Container)
    box.exec_run(["sh", "-c", "echo new > /new; rm /etc/group; echo v > /data/v"])
    for _ in range(2):
        found = members(box.export())
        names = {name.removeprefix("./") for name in found}
        assert {"new", "etc/passwd", "data", "proc"} <= names
        assert not names & {"etc/group", "data/v"}
        assert not [name for name in names if name.startswith(("proc/", "sys/", "dev/"))]
        box.stop(timeout=0)


def test_an_exported_container_can_be_imported_and_run(engine: Engine, sleeper: Container) -> None:
    sleeper.exec_run(["sh", "-c", "echo kept > /kept"])
    image = engine.images.import_image(sleeper.export(), "flat", "1", message="flattened", changes=["CMD cat /kept", "ENV A=b"])
    assert (image.tags, len(image.layers), image.history()[0].comment) == (("flat:1",), 1, "flattened")
    assert engine.containers.run("flat:1", network="none", remove=True) == b"kept\n"
    engine.images.remove("flat:1")


def test_a_volume_of_a_new_container_is_not_touched_by_reading(engine: Engine) -> None:
    box = engine.containers.create(BASE, ["true"], network="none", volumes=["data:/not/there/yet"])
    assert list(members(box.get_archive("/not")[0])) == ["not", "not/there", "not/there/yet"]
    assert box.diff() == []


def test_a_container_does_not_start_while_it_is_written_to(engine: Engine) -> None:
    """Its file system would be mounted twice."""
    box = engine.containers.create(BASE, ["cat", "/tmp/late"], network="none")
    data = tar(("late", b"late\n"))
    asked, go_on = threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        yield data[:700]
        asked.set()
        assert go_on.wait(20)
        yield data[700:]

    copy = threading.Thread(target=box.put_archive, args=("/tmp", pieces()))
    start = threading.Thread(target=box.start)
    copy.start()
    assert asked.wait(20)
    start.start()
    start.join(0.3)
    assert start.is_alive()
    go_on.set()
    copy.join(20)
    start.join(20)
    assert box.wait(timeout=20)["StatusCode"] == 0
    assert box.logs() == b"late\n"


def test_special_files_of_a_live_container_do_not_hang(engine: Engine, sleeper: Container) -> None:
    sleeper.exec_run(["sh", "-c", "mkfifo /tmp/fifo; ln /etc/passwd /tmp/hard"])
    found = members(sleeper.get_archive("/tmp")[0])
    assert found["tmp/fifo"].isfifo()
    assert stat.S_IMODE(found["tmp/fifo"].mode) == 0o644

"""Containers of root with ``--userns auto``: ids that are nobody's, files with the right owners all the same (RT-25)."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine import user_ranges
from notebook_containers.engine.container import Container
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.errors import Conflict, InvalidArgument
from notebook_containers.linux import mounts, namespaces
from tests.home import BASE, Home

PYTHON = "localhost/python"


def started(engine: Engine, given: CreateKeywords | None = None, *, image: str = BASE, command: str = "sleep 1000") -> Container:
    options: CreateKeywords = {"network": "none", "stop_timeout": 0, "userns_mode": "auto", **(given or {})}
    container = engine.containers.run(image, ["sh", "-c", command], detach=True, **options)
    assert isinstance(container, Container)
    return container


def said(container: Container, script: str, user: str = "") -> str:
    done = container.exec_run(["sh", "-c", script], user=user)
    assert done.exit_code == 0, done.output
    return bytes(done.output).decode()


def uid_map(container: Container) -> list[int]:
    return [int(word) for word in Path(f"/proc/{container.state.pid}/uid_map").read_text().split()]


@pytest.mark.root
def test_rt25_every_container_has_ids_of_its_own_and_none_is_the_hosts(engine: Engine, home: Home) -> None:
    first, second = started(engine), started(engine)
    maps = [uid_map(box) for box in (first, second)]
    assert [lines[0] for lines in maps] == [0, 0]
    assert all(lines[2] == user_ranges.SIZE and lines[1] >= user_ranges.FIRST for lines in maps)
    assert abs(maps[0][1] - maps[1][1]) >= user_ranges.SIZE
    for box, (_, start, count) in zip((first, second), maps, strict=True):
        assert Path(f"/proc/{box.state.pid}/gid_map").read_text() == Path(f"/proc/{box.state.pid}/uid_map").read_text()
        status = Path(f"/proc/{box.state.pid}/status").read_text()
        numbers = [int(word) for line in status.splitlines() if line.startswith(("Uid:", "Gid:")) for word in line.split()[1:]]
        assert all(start <= number < start + count for number in numbers)
    first.restart(timeout=0)
    assert uid_map(first) == maps[0]
    with home.open() as other:
        again = other.containers.create(BASE, ["true"], userns_mode="auto")
        assert again.document.first_id not in (maps[0][1], maps[1][1])
        again.remove()


@pytest.mark.root
def test_rt25_root_inside_may_do_nothing_to_the_host(engine: Engine, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host's root")
    secret.chmod(0o600)
    tmp_path.chmod(0o755)
    script = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def tried(name, call):
    try:
        call()
        print(name, "done")
    except OSError as err:
        print(name, err.strerror)
tried("mknod", lambda: os.mknod("/null", 0o20666, os.makedev(1, 3)))
tried("trusted", lambda: os.setxattr("/etc/os-release", "trusted.overlay.opaque", b"y"))
tried("read", lambda: open("/host/secret").read())
tried("write", lambda: open("/host/new", "w"))
tried("chown", lambda: os.chown("/host/secret", 0, 0))
tried("own", lambda: os.chown("/etc/os-release", 1000, 1000))
print("owner", os.stat("/host/secret").st_uid)
"""
    given: CreateKeywords = {
        "network": "none",
        "userns_mode": "auto",
        "cap_add": ["MKNOD", "SYS_ADMIN"],
        "volumes": {str(tmp_path): {"bind": "/host", "mode": "rw"}},
    }
    output = engine.containers.run(PYTHON, ["python3", "-c", script], remove=True, **given)
    assert isinstance(output, bytes)
    refused = "Operation not permitted"
    expected = {"mknod": refused, "trusted": refused, "read": "Permission denied", "write": "Permission denied"}
    assert dict(line.split(" ", 1) for line in output.decode().splitlines()) == {
        **expected,
        "chown": refused,
        "own": "done",
        "owner": "65534",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert secret.stat().st_uid == 0


@pytest.mark.root
def test_the_images_files_and_new_ones_have_the_owners_they_should(engine: Engine) -> None:
    script = "chown 1000:1001 /etc/passwd; echo new > /f; mkdir /d; chown 1000 /d; sleep 1000"
    box = started(engine, command=script)
    assert said(box, "until [ -d /d ]; do sleep 0.05; done; stat -c %u:%g /usr/bin/env /etc /f").split() == ["0:0"] * 3
    assert said(box, "stat -c %u:%g /etc/passwd; id -u; echo again > /dev/stdout", "1000").split() == ["1000:1001", "1000", "again"]
    data = b"".join(box.get_archive("/etc/passwd")[0])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [(member.uid, member.gid) for member in archive] == [(1000, 1001)]
    box.put_archive("/d", archive_of("inside", 1000))
    assert said(box, "stat -c %u /d/inside").strip() == "1000"
    box.stop(timeout=0)
    assert {change.path for change in box.diff()} >= {"/f", "/d", "/d/inside"}
    image = box.commit("from-auto")
    for mode in ("auto", "host"):
        seen = engine.containers.run(
            "from-auto", ["stat", "-c", "%u", "/f", "/d", "/d/inside"], remove=True, network="none", userns_mode=mode
        )
        assert isinstance(seen, bytes)
        assert seen.split() == [b"0", b"1000", b"1000"]
    engine.images.remove(image.id, force=True)


def archive_of(name: str, uid: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.uid = member.gid = uid
        archive.addfile(member)
    return buffer.getvalue()


@pytest.mark.root
def test_a_volume_keeps_its_owners_from_one_range_to_another(engine: Engine) -> None:
    volume: CreateKeywords = {"volumes": {"shared-ids": {"bind": "/v", "mode": "rw"}}}
    first = started(engine, volume, command="touch /v/root /v/user; chown 1000 /v/user; sleep 1000")
    assert said(first, "until [ -e /v/user ]; do sleep 0.05; done; stat -c %u /v/root").split() == ["0"]
    second = started(engine, volume)
    assert uid_map(first) != uid_map(second)
    said(second, "sleep 0.2; echo more >> /v/user", "1000")
    assert said(second, "stat -c %u /v/root /v/user").split() == ["0", "1000"]
    path = engine.volumes.get("shared-ids").path
    assert {name: os.stat(f"{path}/{name}").st_uid for name in ("root", "user")} == {"root": 0, "user": 1000}


@pytest.mark.root
@pytest.mark.netns
def test_limits_terminal_network_and_devices_are_there(engine: Engine) -> None:
    box = started(engine, {"network": "bridge", "mem_limit": "48m", "pids_limit": 31, "devices": ["/dev/full:/dev/fuller"]})
    assert (
        said(box, "ip -o link show eth0 | wc -l; test -c /dev/fuller && test -c /dev/null; stat -c %u /dev/pts/0 || true").split()[0] == "1"
    )
    assert box.exec_run(["sh", "-c", "test -t 0 && tty && stat -c %u /dev/pts/0"], tty=True).exit_code == 0
    group = {line.split(":")[1]: line.split(":")[2] for line in Path(f"/proc/{box.state.pid}/cgroup").read_text().splitlines()}
    assert any(box.id in path for path in group.values())
    hungry = engine.containers.create(BASE, ["sh", "-c", "tail /dev/zero"], userns_mode="auto", network="none", mem_limit="16m")
    hungry.start()
    assert hungry.wait(timeout=60)["StatusCode"] == 137
    hungry.remove()


@pytest.mark.root
@pytest.mark.parametrize(
    "given",
    [
        CreateKeywords(userns_mode="auto", network="host"),
        CreateKeywords(userns_mode="auto", pid_mode="host"),
        CreateKeywords(userns_mode="private", ipc_mode="host"),
        CreateKeywords(userns_mode="auto", privileged=True),
    ],
)
def test_what_belongs_to_others_does_not_go_with_it(engine: Engine, given: CreateKeywords) -> None:
    with pytest.raises(InvalidArgument, match="cannot be used with --userns auto"):
        engine.containers.create(BASE, ["true"], **given)


def test_a_range_is_nobodys(tmp_path: Path) -> None:
    first, size = user_ranges.FIRST, user_ranges.SIZE
    (tmp_path / "subuid").write_text(f"somebody:{first}:{size}\nbroken\n:x:y\n")
    (tmp_path / "passwd").write_text(f"one:x:{first + 2 * size + 5}:0::/:/bin/sh\n")
    (tmp_path / "group").write_text(f"two:x:{first + 3 * size}:\n")
    assert user_ranges.free([first + size], etc=str(tmp_path)) == first + 4 * size
    with pytest.raises(Conflict, match="in use"):
        user_ranges.free(range(first, user_ranges.LAST, size), etc=str(tmp_path))


@pytest.mark.root
def test_a_file_system_without_owners_to_show_says_so() -> None:
    tree = mounts.create("bind", "/proc/sys", ["bind"])
    own = namespaces.open_namespace(os.getpid(), "user")
    try:
        with pytest.raises(OSError, match="mount_setattr"):
            mounts.show_owners(tree, own)
    finally:
        os.close(own)
        os.close(tree)

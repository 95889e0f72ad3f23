"""Machines and places that will not do: one line that names the thing and the next step, and nothing half-made (the issue's bad input)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine import parts
from notebook_containers.errors import DiskFull, Error, ImageNotFound, StoreError, Unsupported
from tests.home import BASE, Home


def test_another_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Unsupported, match="this is darwin") as caught:
        parts.check_machine()
    assert "Linux" in caught.value.hint


@pytest.mark.root
def test_without_user_namespaces_an_ordinary_user_is_told_what_to_ask_for(tree_environment: dict[str, str], tmp_path: Path) -> None:
    """A user namespace of its own, in which none may be made: what an administrator's sysctl does to everybody."""
    code = (
        "import os\n"
        "open('/proc/sys/user/max_user_namespaces', 'w').write('0')\n"
        "os.geteuid = lambda: 1000\n"
        "from notebook_containers.engine.parts import check_machine\n"
        "from notebook_containers.errors import Error\n"
        "try:\n    check_machine()\nexcept Error as err:\n    print(err.one_line())\n"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", code],
        env=tree_environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == (
        "user namespaces are switched off (user.max_user_namespaces=0); ask an administrator for: sysctl -w user.max_user_namespaces=15000"
    ), done.stderr


@pytest.mark.root
@pytest.mark.parametrize("which", ["root", "run"])
def test_a_place_under_a_file_is_named(tmp_path: Path, which: str) -> None:
    (tmp_path / "file").touch()
    places = {"root": tmp_path / "root", "run": tmp_path / "run", which: tmp_path / "file" / "below"}
    with pytest.raises(StoreError, match="file/below") as caught:
        Engine(places["root"], places["run"])
    assert "NBC_ROOT" in caught.value.hint


@pytest.mark.root
def test_a_read_only_place_is_named(tmp_path: Path) -> None:
    code = (
        "from notebook_containers import Engine\n"
        "from notebook_containers.errors import Error\n"
        f"try:\n    Engine(root='{tmp_path}/root', run='{tmp_path}/run')\n"
        "except Error as err:\n    print(type(err).__name__, err.one_line())\n"
    )
    command = f'mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path} && exec {sys.executable} -c "$CODE"'
    environment = {**os.environ, "CODE": code, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(["unshare", "--mount", "sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"StoreError cannot make {tmp_path}/root: Read-only file system; "), done.stderr


@pytest.mark.root
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 4242, 4242)
    with pytest.raises(StoreError, match="theirs is not a directory of user 0"):
        parts.private_directory(tmp_path / "theirs")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="link"):
        parts.private_directory(tmp_path / "link")


def test_places_are_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    assert parts.private_directory(tmp_path / "open").stat().st_mode & 0o777 == 0o700
    assert parts.private_directory(tmp_path / "new/deep").stat().st_mode & 0o777 == 0o700


def test_places_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NBC_ROOT", str(tmp_path / "a"))
    monkeypatch.setenv("NBC_RUN", str(tmp_path / "b"))
    assert (parts.default_root(), parts.default_run()) == (tmp_path / "a", tmp_path / "b")
    monkeypatch.delenv("NBC_ROOT")
    monkeypatch.delenv("NBC_RUN")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert (parts.default_root(), parts.default_run()) == (tmp_path / "data/notebook-containers", tmp_path / "notebook-containers")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    assert parts.default_run().name == "notebook-containers-1000"


@pytest.fixture
def small_disk(own_home: Home) -> Iterator[Path]:
    """A file system of 96 MB, which the base image and a file fill."""
    place = own_home.top / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.root
def test_rel07_a_full_disk_is_named_and_everything_stays_usable(small_disk: Path, own_home: Home) -> None:
    with Engine(root=small_disk / "root", run=own_home.run) as engine:
        engine.images.get(BASE)
        (small_disk / "filler").write_bytes(b"")
        room = os.statvfs(small_disk)
        (small_disk / "filler").write_bytes(b"\0" * max(room.f_bavail * room.f_frsize - 1_500_000, 0))
        big = "head -c 1200000 /dev/urandom"
        with pytest.raises(Error) as caught:
            engine.images.build(text=f"FROM {BASE}\nRUN {big} > /a\nRUN {big} > /b\n", tag="x")
        assert "\n" not in caught.value.one_line()
        assert "space" in caught.value.one_line().lower() or isinstance(caught.value, DiskFull)
        with pytest.raises(ImageNotFound):
            engine.images.find("x")
        (small_disk / "filler").unlink()
        assert engine.containers.run(BASE, ["echo", "usable"], network="none", remove=True) == b"usable\n"
        engine.images.prune(all=True)
        assert engine.images.list() == []
        assert not any((small_disk / "root/layers").glob("*"))


@pytest.mark.root
def test_the_documents_of_info_and_version(home: Home) -> None:
    with home.open() as engine:
        info, version = engine.info(), engine.version()
    assert {"Security", "Limits", "Network", "Warnings", "Rootless", "Containers", "Images"} <= set(info)
    assert info["DockerRootDir"] == str(home.root)
    assert version["Os"] == "linux"

"""Volumes: host directories, named and anonymous ones, what they are filled with, and that user's bytes stay (REL-30)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import Conflict, InvalidArgument, StartFailed, VolumeNotFound
from tests.home import BASE

pytestmark = pytest.mark.root


def run(engine: Engine, script: str, *volumes: str, image: str = BASE) -> str:
    output = engine.containers.run(image, ["sh", "-c", script], network="none", remove=True, volumes=list(volumes))
    assert isinstance(output, bytes)
    return output.decode()


def test_a_host_directory_is_shared_both_ways(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    assert run(engine, "cat /d/in; echo inside > /d/out", f"{tmp_path}:/d") == "from the host\n"
    assert (tmp_path / "out").read_text() == "inside\n"


def test_a_read_only_one_cannot_be_written(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    assert "Read-only" in run(engine, "touch /d/y 2>&1; true", f"{tmp_path}:/d:ro")
    assert not (tmp_path / "y").exists()


def test_a_single_file_can_be_mounted(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("file\n")
    assert run(engine, "cat /etc/mine /etc/passwd | head -1", f"{tmp_path}/f:/etc/mine:ro") == "file\n"


def test_a_missing_host_directory_is_made(engine: Engine, tmp_path: Path) -> None:
    run(engine, "touch /d/x", f"{tmp_path}/new/dir:/d")
    assert (tmp_path / "new/dir/x").exists()
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match="cannot be made"):
        run(engine, "true", f"{tmp_path}/file/dir:/d")
    assert engine.containers.list(all=True) == []


def test_named_volumes_keep_bytes_between_containers(engine: Engine) -> None:
    run(engine, "echo kept > /d/x", "keep:/d")
    assert run(engine, "cat /d/x", "keep:/d") == "kept\n"
    assert [v.name for v in engine.volumes.list()] == ["keep"]


def test_a_new_volume_is_filled_from_the_image_and_an_old_one_is_not(engine: Engine) -> None:
    text = f"FROM {BASE}\nRUN mkdir /d && echo image > /d/x && chown 5:6 /d/x && chmod 640 /d/x && ln -s x /d/l\nVOLUME /d\n"
    engine.images.build(text=text, tag="voltest")
    assert run(engine, "cat /d/x; stat -c '%u:%g %a' /d/x; readlink /d/l", "fresh:/d", image="voltest") == "image\n5:6 640\nx\n"
    run(engine, "echo mine > /d/x", "fresh:/d", image="voltest")
    assert run(engine, "cat /d/x", "fresh:/d", image="voltest") == "mine\n"
    assert run(engine, "cat /d/x", image="voltest") == "image\n"
    engine.images.remove("voltest")


def test_an_anonymous_volume_goes_with_rm_v_and_stays_without(engine: Engine) -> None:
    engine.containers.create(BASE, ["true"], network="none", volumes=["/d"]).remove()
    (volume,) = engine.volumes.list()
    engine.volumes.remove(volume.name)
    engine.containers.create(BASE, ["true"], network="none", volumes=["/d", "named:/e"]).remove(v=True)
    assert [v.name for v in engine.volumes.list()] == ["named"]


def test_rm_at_the_end_takes_the_anonymous_one_along(engine: Engine) -> None:
    run(engine, "touch /d/x", "/d", "named:/e")
    assert [v.name for v in engine.volumes.list()] == ["named"]


def test_a_volume_in_use_is_not_removed(engine: Engine) -> None:
    container = engine.containers.create(BASE, ["true"], network="none", name="user", volumes=["used:/d"])
    with pytest.raises(Conflict, match="volume used is used by container user") as caught:
        engine.volumes.remove("used")
    assert caught.value.hint
    container.remove()
    engine.volumes.remove("used")
    with pytest.raises(VolumeNotFound, match="used"):
        engine.volumes.remove("used")


def test_rel30_removing_a_container_leaves_the_hosts_files(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    container = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, volumes=[f"{tmp_path}:/d"])
    assert isinstance(container, Container)
    container.remove(force=True, v=True)
    engine.containers.prune()
    assert (tmp_path / "precious").read_text() == "x"


def test_rt09_a_volume_of_a_hostile_image_stays_inside(engine: Engine, tmp_path: Path) -> None:
    text = f"FROM {BASE}\nRUN ln -s {tmp_path} /link\nVOLUME /link/sub\nVOLUME /../../..{tmp_path}/up\n"
    engine.images.build(text=text, tag="hostile")
    before = sorted(tmp_path.iterdir())
    with suppress(StartFailed):
        run(engine, "touch /link/sub/x; true", image="hostile")
    assert sorted(tmp_path.iterdir()) == before
    engine.images.remove("hostile")


def test_volume_names_are_checked_and_created_once(engine: Engine) -> None:
    first = engine.volumes.create("one", labels={"a": "b"})
    assert engine.volumes.create("one").name == first.name
    assert engine.volumes.get("one").labels == {"a": "b"}
    with pytest.raises(InvalidArgument):
        engine.volumes.create("../one")


def test_mounts_of_a_failed_create_leave_nothing(engine: Engine) -> None:
    with pytest.raises(InvalidArgument):
        engine.containers.create(BASE, ["true"], network="none", user="nobody-here", volumes=["/d"])
    assert engine.volumes.list() == []


def test_a_mount_inside_another_is_on_top_whatever_the_order(engine: Engine, tmp_path: Path) -> None:
    """Else what was meant for a tmpfs would be written into the host's directory below it."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_text("deep")
    (tmp_path / "work").mkdir()
    output = engine.containers.run(
        BASE,
        ["sh", "-c", "touch /w/cache/x; cat /w/a/b/file; ls /w"],
        network="none",
        remove=True,
        volumes=[f"{tmp_path}/deep:/w/a/b:ro", f"{tmp_path}/work:/w"],
        tmpfs={"/w/cache": "size=64k"},
    )
    assert output == b"deepa\ncache\n"
    assert list((tmp_path / "work/cache").iterdir()) == []

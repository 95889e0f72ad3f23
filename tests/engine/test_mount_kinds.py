"""Mounts that are more than a directory or a volume: images, overlays over a directory, and owners that are given to the user inside."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.errors import Conflict, Error, InvalidArgument, NotFound, Unsupported, VolumeNotFound
from tests.engine.test_flags import inside, started
from tests.home import BASE, Home, findings

pytestmark = pytest.mark.root


@pytest.fixture
def pictured(engine: Engine) -> Iterator[str]:
    """An image with something to mount."""
    script = "mkdir -p /data/deep && echo first > /data/x && echo deep > /data/deep/y && ln -s data /link && chown 5:6 /data/x"
    text = f"FROM {BASE}\nRUN {script}\n"
    engine.images.build(text=text, tag="pictured", network="none")
    yield "pictured"
    for container in engine.containers.list(all=True):
        container.remove(force=True, v=True)
    engine.images.remove("pictured", force=True)


def image(words: str) -> CreateKeywords:
    return {"mounts": [f"type=image,source=pictured,target=/m{words}"]}


def test_an_image_is_mounted_read_only(engine: Engine, pictured: str) -> None:
    assert pictured
    assert inside(engine, "cat /m/data/x; stat -c %u:%g /m/data/x; (echo > /m/new) 2>/dev/null || echo refused", image("")) == [
        "first", "5:6", "refused",
    ]  # fmt: skip
    for place in ("data", "/data", "link"):
        assert inside(engine, "ls /m", image(f",image-subpath={place}")) == ["deep", "x"]
    assert inside(engine, "cat /m", image(",subpath=data/deep/y")) == ["deep"]
    with pytest.raises(NotFound, match="there is no nothing in image pictured"):
        inside(engine, "true", image(",subpath=nothing"))
    with pytest.raises(NotFound):
        inside(engine, "true", {"mounts": ["type=image,source=localhost/no-such,target=/m"]})
    with pytest.raises(Unsupported, match="--userns auto"):
        inside(engine, "true", {**image(""), "userns_mode": "auto"})
    assert engine._parts.store.snapshots.list() == []


def test_what_is_written_over_an_image_is_the_containers_own(engine: Engine, pictured: str) -> None:
    first = started(engine, ["sleep", "1000"], {**image(",rw"), "name": "first"})
    second = started(engine, ["sleep", "1000"], {"volumes_from": ["first"], "name": "second"})
    assert first.exec_run(["sh", "-c", "echo mine > /m/data/x; cat /m/data/x"]).output == b"mine\n"
    assert second.exec_run(["cat", "/m/data/x"]).output == b"first\n"
    first.stop()
    assert first.get_archive("/m/data/x")[1]["size"] == len("mine\n")
    first.start()
    assert first.exec_run(["cat", "/m/data/x"]).output == b"mine\n"
    mounts = first.attrs["Mounts"]
    assert isinstance(mounts, list)
    assert isinstance(mounts[0], dict)
    assert {key: mounts[0][key] for key in ("Type", "Source", "Destination", "RW")} == {
        "Type": "image", "Source": pictured, "Destination": "/m", "RW": True,
    }  # fmt: skip
    assert engine.check(quick=True).clean


def test_a_mounted_image_keeps_its_layers_and_is_freed_with_its_container(own_home: Home) -> None:
    with own_home.open() as engine:
        engine.images.build(text=f"FROM {BASE}\nRUN echo kept > /kept\n", tag="gone", network="none")
        container = engine.containers.create(BASE, ["cat", "/m/kept"], network="none", mounts=["type=image,source=gone,target=/m"])
        engine.images.remove("gone")
        engine.images.prune(all=True)
        container.start()
        assert container.wait()["StatusCode"] == 0
        assert container.logs() == b"kept\n"
        lines = {str(row["type"]) for row in engine.df(verbose=True)}
        assert not [line for line in lines if line.startswith("unused snapshot")]
        layers = len(engine._parts.store.layers.list())
        container.remove()
        engine.prune(all=True)
        assert len(engine._parts.store.layers.list()) < layers
        assert findings(engine) == []


def test_an_overlay_leaves_the_directory_as_it_was(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A\n")
    tmp_path.chmod(0o2775)
    script = "cat /h/a; stat -c %a /h; echo B > /h/a; touch /h/new; cat /h/a; ls /h"
    assert inside(engine, script, {"volumes": [f"{tmp_path}:/h:O"]}) == ["A", "2775", "B", "a", "new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    assert (tmp_path / "a").read_text() == "A\n"
    one = started(engine, ["sleep", "1000"], {"volumes": {tmp_path: "/h:O"}, "name": "one"})
    two = started(engine, ["sleep", "1000"], {"volumes_from": ["one"], "name": "two"})
    assert one.exec_run(["rm", "/h/a"]).exit_code == 0
    assert two.exec_run(["cat", "/h/a"]).output == b"A\n"
    with pytest.raises(InvalidArgument, match="no directory"):
        inside(engine, "true", {"volumes": [f"{tmp_path}/a:/h:O"]})


def test_owners_are_given_to_the_user_inside(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "mine/deep").mkdir(parents=True)
    (tmp_path / "mine/deep/file").touch()
    (tmp_path / "outside").touch()
    (tmp_path / "mine/link").symlink_to(tmp_path / "outside")
    script = "stat -c %u:%g /h /h/deep /h/deep/file; touch /h/deep/new"
    assert inside(engine, script, {"volumes": [f"{tmp_path}/mine:/h:U"], "user": "1234:55"}) == ["1234:55"] * 3
    assert (os.stat(tmp_path / "outside").st_uid, os.lstat(tmp_path / "mine/link").st_uid) == (0, 1234)
    assert inside(engine, "stat -c %u:%g /v; touch /v/f", {"volumes": ["owned:/v:U"], "user": "1234:55"}) == ["1234:55"]
    assert inside(engine, "stat -c %u:%g /v", {"volumes": ["owned:/v:U"], "user": "7", "userns_mode": "auto"}) == ["7:0"]
    assert inside(engine, "stat -c %u:%g /h", {"volumes": [f"{tmp_path}/mine:/h:U"], "user": "7", "userns_mode": "auto"}) == ["7:0"]
    for place in ("/etc", "/"):
        with pytest.raises(InvalidArgument, match="every owner"):
            inside(engine, "true", {"volumes": [f"{place}:/h:U"]})


def test_a_missing_source_is_made_when_asked(engine: Engine, tmp_path: Path) -> None:
    inside(engine, "touch /m/made", {"mounts": [f"type=bind,src={tmp_path}/new/dir,dst=/m,bind-create-src"]})
    assert (tmp_path / "new/dir/made").exists()


def test_a_volume_in_memory_is_mounted_again_after_a_restart_of_the_machine(engine: Engine) -> None:
    volume = engine.volumes.create("mem", driver_opts={"type": "tmpfs", "device": "tmpfs"})
    container = engine.containers.create(BASE, ["stat", "-f", "-c", "%T", "/v"], network="none", volumes=["mem:/v"])
    subprocess.run(["umount", str(volume.path)], check=True)  # what a restart leaves
    container.start()
    container.wait()
    assert container.logs() == b"tmpfs\n"


def test_a_container_never_stands_without_its_volume(engine: Engine) -> None:
    """A removal between the look-up of a volume and the record of the container that has it would take the user's next bytes along."""
    ended = threading.Event()

    def remove() -> None:
        while not ended.is_set():
            try:
                engine.volumes.remove("raced")
            except (VolumeNotFound, Conflict):
                ended.wait(0.005)

    thread = threading.Thread(target=remove)
    thread.start()
    made: list[Container] = []
    try:
        for _ in range(10):
            try:
                made.append(engine.containers.create(BASE, ["true"], network="none", volumes=["raced:/v"]))
            except Error:
                continue
            assert engine.volumes.get("raced").path.is_dir()
            made.pop().remove()
    finally:
        ended.set()
        thread.join()


def test_a_volume_that_vanishes_while_a_container_is_made_is_named(engine: Engine) -> None:
    shutil.rmtree(engine.volumes.create("lost").path.parent)
    with pytest.raises(VolumeNotFound, match="volume lost was removed a moment ago"):
        engine.containers.create(BASE, ["true"], network="none", volumes=["lost:/v"])
    assert engine.containers.list(all=True) == []
    engine.volumes.remove("lost")

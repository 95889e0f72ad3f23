"""Volumes by their verbs: what they are made with, how they are found, what goes and what stays; the local driver's options for real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.errors import Conflict, InvalidArgument, Unsupported, VolumeNotFound
from tests.engine.test_volumes import run
from tests.home import BASE, Home
from tests.needs import need

pytestmark = pytest.mark.root
MEMORY = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7,mode=0750"}


def names(engine: Engine, **filters: object) -> list[str]:
    return [volume.name for volume in engine.volumes.list(filters)]


def test_volumes_are_found_by_filters(engine: Engine) -> None:
    engine.volumes.create("one", labels={"stage": "test"})
    engine.volumes.create("two", labels={"stage": "other"})
    engine.containers.create(BASE, ["true"], network="none", name="holder", volumes=["two:/d", "/anonymous"])
    (unnamed,) = [volume.name for volume in engine.volumes.list() if volume.anonymous]
    assert names(engine, dangling=True) == ["one"]
    assert sorted(names(engine, dangling="false")) == sorted(["two", unnamed])
    assert names(engine, label="stage") == ["one", "two"]
    assert names(engine, label=["stage", "stage=test"]) == ["one"]
    assert names(engine, name=["wo", "nothing"]) == ["two"]
    assert len(names(engine, driver="local")) == 3
    assert names(engine, driver="other") == []
    assert engine.volumes.users() == {"two": ["holder"], unnamed: ["holder"]}
    for wrong in ({"nonsense": "x"}, {"dangling": "perhaps"}):
        with pytest.raises(InvalidArgument, match="not understood"):
            engine.volumes.list(wrong)


def test_prune_takes_what_nobody_named_and_nobody_has(engine: Engine) -> None:
    engine.volumes.create("named", labels={"keep": "no"})
    engine.volumes.create("kept", labels={"keep": "yes"})
    used = engine.containers.create(BASE, ["true"], network="none", volumes=["/a", "used:/b"])
    free = engine.volumes.create()
    free.write("bytes", bytes(100_000))
    done = engine.volumes.prune()
    assert done["VolumesDeleted"] == [free.name]
    assert int(str(done["SpaceReclaimed"])) >= 100_000
    assert engine.volumes.prune({"all": True, "label!": "keep=yes"})["VolumesDeleted"] == ["named"]
    with pytest.raises(InvalidArgument, match="until"):
        engine.volumes.prune({"until": "1h"})
    used.remove()
    assert len(engine.volumes.list()) == 3


def test_a_volume_says_what_it_is(engine: Engine) -> None:
    volume = engine.volumes.create("data", labels={"a": "b"})
    volume.write("x.csv", bytes(50_000))
    engine.containers.create(BASE, ["true"], network="none", volumes=["data:/d"])
    attrs = engine.volumes.get("data").attrs
    usage = attrs.pop("UsageData")
    assert isinstance(usage, dict)
    assert usage["RefCount"] == 1
    assert int(str(usage["Size"])) >= 50_000
    assert attrs.pop("CreatedAt")
    assert attrs == {
        "Driver": "local", "Labels": {"a": "b"}, "Mountpoint": str(volume.path), "Name": "data", "Options": {}, "Scope": "local",
    }  # fmt: skip


def test_what_cannot_be_made_is_refused(engine: Engine) -> None:
    refused: list[tuple[dict[str, str], type[Exception], str]] = [
        ({"type": "tmpfs"}, InvalidArgument, "missing volume option 'device'"),
        ({"device": "/x"}, InvalidArgument, "missing volume option 'type'"),
        ({"colour": "red"}, InvalidArgument, "invalid volume option 'colour'"),
        ({"size": "10g"}, Unsupported, "quotas"),
        ({"type": "none", "o": "bind", "device": "relative"}, InvalidArgument, "no absolute path"),
        ({"type": "none", "o": "bind,nonsense", "device": "/x"}, InvalidArgument, "nonsense"),
        ({"type": "tmpfs", "device": "tmpfs", "o": "nonsense=1"}, InvalidArgument, "nonsense"),
        ({"type": "nosuchfs", "device": "server:/x", "o": "addr=192.0.2.1"}, Unsupported, "kernel has no file system nosuchfs"),
    ]
    for options, kind, says in refused:
        with pytest.raises(kind, match=says) as caught:
            engine.volumes.create("data", driver_opts=options)
        assert vars(caught.value)["hint"]
    with pytest.raises(Unsupported, match="driver 'rexray'"):
        engine.volumes.create("data", driver="rexray")
    assert engine.volumes.list() == []


def test_nfs_is_refused_clearly_where_the_kernel_lacks_it(engine: Engine) -> None:
    try:
        engine.volumes.create("data", driver_opts={"type": "nfs", "device": ":/export", "o": "addr=192.0.2.1,rw"})
    except Unsupported as err:
        assert err.message == "this kernel has no file system nfs, so no volume can be of that type"  # noqa: PT017
        assert "modprobe nfs" in (err.hint or "")  # noqa: PT017
    else:
        known = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}  # asking for it may have loaded it
        assert "nfs" in known
        need(False, "kernel without nfs")


def test_a_volume_in_memory_is_one_for_all_its_containers(engine: Engine) -> None:
    volume = engine.volumes.create("mem", driver_opts=MEMORY)
    assert engine.volumes.create("mem", driver_opts=MEMORY) == volume
    with pytest.raises(Conflict, match="other options"):
        engine.volumes.create("mem", driver_opts={**MEMORY, "o": "size=2m"})
    said = run(engine, "stat -f -c %T /v; stat -c '%u %a' /v; df -k /v | tail -n 1 | tr -s ' ' | cut -d' ' -f2; echo kept > /v/f", "mem:/v")
    assert said == "tmpfs\n7 750\n1024\n"
    assert run(engine, "cat /w/f; head -c 2000000 /dev/zero > /w/big 2>/dev/null || echo full", "mem:/w") == "kept\nfull\n"
    assert volume.read("f") == b"kept\n"
    mountpoint = volume.path
    assert os.path.ismount(mountpoint)
    engine.volumes.remove("mem")
    assert not mountpoint.exists()


def test_a_bound_volume_is_that_directory_and_never_takes_it_along(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    options = {"type": "none", "o": "bind", "device": str(tmp_path / "later")}
    volume = engine.volumes.create("bound", driver_opts=options)
    with pytest.raises(InvalidArgument, match="which is no directory"):
        run(engine, "true", "bound:/v")
    (tmp_path / "later").mkdir()
    run(engine, "echo x > /v/f", "bound:/v")
    assert (tmp_path / "later/f").read_text() == "x\n"
    assert volume.read("f") == b"x\n"
    engine.volumes.create("reading", driver_opts={**options, "o": "bind,ro"})
    assert "Read-only" in run(engine, "touch /v/g 2>&1; true", "reading:/v")
    for name in ("bound", "reading"):
        engine.volumes.remove(name)
    assert (tmp_path / "later/f").read_text() == "x\n"


def test_a_volume_is_made_by_a_mount_with_its_options(engine: Engine) -> None:
    mount = "type=volume,source=mem,target=/v,volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-label=a=b"
    output = engine.containers.run(BASE, ["stat", "-f", "-c", "%T", "/v"], network="none", remove=True, mounts=[mount])
    assert output == b"tmpfs\n"
    assert (engine.volumes.get("mem").labels, engine.volumes.get("mem").options) == ({"a": "b"}, {"type": "tmpfs", "device": "tmpfs"})


def test_removing_with_force_needs_none_to_be_there(engine: Engine) -> None:
    engine.volumes.remove("nothing", force=True)
    with pytest.raises(VolumeNotFound):
        engine.volumes.remove("nothing")
    container = engine.containers.create(BASE, ["true"], network="none", volumes=["used:/d"])
    with pytest.raises(Conflict):
        engine.volumes.remove("used", force=True)
    container.remove()


def test_a_volume_made_first_is_filled_on_first_use(own_home: Home) -> None:
    """Docker fills any volume without files, not only one that the container makes."""
    with own_home.open() as engine:
        engine.images.build(text=f"FROM {BASE}\nRUN mkdir /d && echo image > /d/x\n", tag="filled", network="none")
        engine.volumes.create("before")
        assert run(engine, "cat /d/x", "before:/d", image="filled") == "image\n"
        assert run(engine, "ls -A /d", "bare:/d:nocopy", image="filled") == ""

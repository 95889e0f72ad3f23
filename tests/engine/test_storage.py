"""system df, check, prune and reset, on stores that are sound, damaged, and beyond repair."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import ContainerNotFound, ImageNotFound, InvalidArgument
from notebook_containers.linux import process as processes
from tests.home import BASE, Home, findings
from tests.people import person

pytestmark = pytest.mark.root
TREE = Path(__file__).parents[2]


def du(root: Path) -> int:
    return int(subprocess.run(["du", "-s", "--block-size=1", str(root)], capture_output=True, text=True, check=True).stdout.split()[0])


def nbc(home: Home, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), **home.variables(), **variables}
    argv = [sys.executable, "-m", "notebook_containers", *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def archive(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def size(row: dict[str, object], key: str = "size") -> int:
    return int(str(row[key]))


# -- df ------------------------------------------------------------------------------------------------------------------------------------


def test_df_explains_every_byte(own_home: Home) -> None:
    with own_home.open() as engine:
        store = engine._parts.store
        build = f"FROM {BASE}\nRUN head -c 300000 /dev/urandom > /one\nRUN head -c 200000 /dev/urandom > /two"
        engine.images.build(text=build, tag="first", network="none")
        engine.images.build(text=build + '\nCMD ["true"]\n', tag="second", network="none")
        engine.images.build(text=f"FROM {BASE}\nRUN head -c 100000 /dev/urandom > /three", tag="third", network="none")
        engine.images.remove("third")  # the build cache keeps its layer
        box = engine.containers.run("first", ["sh", "-c", "seq 10000; seq 5000 > /own"], name="talks", network="none", detach=True)
        assert isinstance(box, Container)
        box.wait()
        with store.cache_mounts.hold("pip", "shared", (0o700, 0, 0), lambda path: None) as cache:
            (cache / "wheel").write_bytes(bytes(40_000))
        engine.volumes.create("data")
        Path(engine.volumes.get("data").path, "file").write_bytes(bytes(500_000))
        store.content.write(b"unused" * 1000)
        store.disk.staged_path().write_bytes(b"half" * 5000)
        (store.disk.trash / "x").write_bytes(b"old" * 3000)
        os.link(store.disk.trash / "x", store.disk.trash / "y")
        (store.root / "layers" / ("0" * 64)).mkdir()
        plain = {str(row["type"]): row for row in engine.df()}
        lines = {str(row["type"]): row for row in engine.df(verbose=True)}
        assert sum(map(size, plain.values())) == sum(map(size, lines.values())) == du(own_home.root)
        assert list(plain) == ["Images", "Containers", "Local Volumes", "Build Cache", "Logs", "Garbage", "Store"]
        assert (plain["Images"]["total"], plain["Images"]["active"]) == (3, 1)
        assert size(plain["Logs"]) > 40_000
        assert size(plain["Containers"]) > 20_000
        assert size(plain["Local Volumes"], "reclaimable") >= 500_000
        assert 300_000 > size(plain["Build Cache"]) > 240_000
        assert 80_000 > size(plain["Garbage"]) == size(plain["Garbage"], "reclaimable") > 30_000
        shared = [size(row) for name, row in lines.items() if name.startswith("shared layer")]
        assert sum(shared) == size(plain["Images"], "shared") > 500_000
        assert size(lines["image second:latest"]) < 20_000
        assert size(lines["cache mount pip"]) > 40_000
        assert {"volume data", "container talks", "log of talks", "store"} <= set(lines)
        freed = size(plain["Containers"], "reclaimable") + size(plain["Logs"], "reclaimable") + size(plain["Garbage"], "reclaimable")
        engine.prune()
        store.disk.settle()
        assert du(own_home.root) <= sum(map(size, plain.values())) - freed


@pytest.mark.user
def test_df_explains_every_byte_of_a_user_with_lent_ids() -> None:
    code = (
        "import json, sys\nfrom notebook_containers import Engine\n"
        "with Engine() as engine:\n"
        f"    engine.images.get({BASE!r})\n"
        f"    box = engine.containers.create({BASE!r}, ['true'], network='none')\n"
        "    box.put_archive('/', sys.stdin.buffer.read())\n"
        "    print(json.dumps([row['size'] for row in engine.df()]))\n"
        "    assert engine.check().clean\n"
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("closed")
        info.type, info.mode, info.uid = tarfile.DIRTYPE, 0o700, 1000
        tar.addfile(info)
        info = tarfile.TarInfo("closed/file")
        info.size, info.uid = 100_000, 1000
        tar.addfile(info, io.BytesIO(bytes(100_000)))
    with person(lent=True) as someone:
        argv = ["/usr/bin/python3", "-c", code]
        done = subprocess.run(
            argv, user=someone.uid, group=someone.gid, extra_groups=[], env=someone.environment, cwd="/", input=buffer.getvalue(),
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        assert sum(json.loads(done.stdout)) == du(someone.home / "root")


# -- check ---------------------------------------------------------------------------------------------------------------------------------


def lose_bundle(engine: Engine, box: Container) -> None:
    shutil.rmtree(engine._parts.bundle_path(box.id))


def lose_image(engine: Engine, box: Container) -> None:
    with engine._parts.store.records.transaction() as connection:
        connection.execute("DELETE FROM images WHERE id = ?", (box.document.image_id,))


def spoil_record(engine: Engine, box: Container) -> None:
    engine._parts.store.records.update_container(box.id, document="{")


def leak_mount(engine: Engine, box: Container) -> None:
    point = engine._parts.bundle_path(box.id) / "rootfs"
    subprocess.run(["mount", "-t", "tmpfs", "nbc-test", str(point)], check=True)


def lose_monitor(engine: Engine, box: Container) -> None:
    box.start()
    state = box.state
    os.kill(state.monitor_pid, signal.SIGKILL)
    os.kill(state.pid, signal.SIGKILL)
    assert processes.wait_gone(state.pid, state.pid_started, 5)
    assert processes.wait_gone(state.monitor_pid, state.monitor_started, 5)


DAMAGE: dict[str, Callable[[Engine, Container], None]] = {
    "bundle-missing": lose_bundle,
    "container-damaged": spoil_record,
    "container-lost": lose_monitor,
    "image-missing": lose_image,
    "mount-leaked": leak_mount,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_that_only_the_engine_sees(own_home: Home, kind: str) -> None:
    with own_home.open() as engine:
        engine.images.import_image(archive("file", b"1"), "own")
        box = engine.containers.create(BASE, ["sleep", "1000"], network="none", stop_timeout=0)
        assert isinstance(box, Container)
        assert engine.check().clean
        DAMAGE[kind](engine, box)
        found = engine.check()
        assert [finding.kind for finding in found.findings if not finding.garbage] == [kind]
        repaired = engine.check(repair=True)
        if kind in ("mount-leaked", "container-lost"):
            assert repaired.clean
        assert engine.check(repair=True, force=True).clean
        engine.images.find("own")


def test_a_leaked_run_directory_is_garbage(own_home: Home) -> None:
    with own_home.open() as engine:
        (own_home.run / "c" / "0123456789ab").mkdir(parents=True)
        assert [(finding.kind, finding.garbage) for finding in findings(engine)] == [("run-unrecorded", True)]


def test_check_on_the_command_line(own_home: Home) -> None:
    with own_home.open() as engine:
        engine.images.import_image(archive("file", b"1" * 1000), "own")
        layer = engine._parts.store.layers.list()[0]
    done = nbc(own_home, "system", "check")
    assert (done.returncode, done.stdout) == (0, "clean\n"), done
    (layer.tree / "file").write_bytes(b"2" * 1000)
    assert nbc(own_home, "system", "check", "--quick").returncode == 0
    done = nbc(own_home, "system", "check", "--format", "json")
    row = json.loads(done.stdout)
    assert (done.returncode, row["State"], row["Kind"], row["FullSubject"]) == (1, "damage", "tree-damaged", layer.diff_id)
    assert "/file:" in row["Detail"]
    done = nbc(own_home, "system", "check", "--repair")
    assert (done.returncode, "unpacked again" in done.stdout) == (0, True), done
    assert (layer.tree / "file").read_bytes() == b"1" * 1000
    assert nbc(own_home, "system", "check").stdout == "clean\n"
    done = nbc(own_home, "system", "check", "--force")
    assert (done.returncode, done.stderr) == (1, "nbc: --force only says how far a repair may go; use --repair --force\n")
    assert nbc(own_home, "system", "check", "now").returncode == 125


def test_by_force_goes_what_cannot_be_made_whole_and_nothing_else(own_home: Home) -> None:
    with own_home.open() as engine:
        engine.images.import_image(archive("file", b"1" * 1000), "broken")
        engine.images.import_image(archive("file", b"2" * 1000), "sound")
        box = engine.containers.create("broken", ["true"], network="none", volumes=["data:/data"])
        engine.volumes.get("data").path.joinpath("mine").write_bytes(b"mine")
        layer = engine._parts.store.layers.get(engine.images.find("broken").layers[0])
        engine._parts.store.content.path(layer.blob.digest).unlink()
        shutil.rmtree(layer.tree)
        left = engine.check(repair=True)
        assert {finding.kind for finding in left.findings} == {"blob-missing", "tree-missing"}
        assert engine.check(repair=True, force=True).clean
        with pytest.raises(ContainerNotFound):
            engine.containers.get(box.id)
        with pytest.raises(ImageNotFound):
            engine.images.find("broken")
        engine.images.find("sound")
        assert engine.volumes.get("data").path.joinpath("mine").read_bytes() == b"mine"


def test_a_base_image_is_made_again(own_home: Home) -> None:
    """It is made of this machine's files, so its archive can be made again, and its tree unpacked from that."""
    with own_home.open() as engine:
        engine.images.get(BASE)
        store = engine._parts.store
        for layer in store.layers.list():
            path = store.content.path(layer.blob.digest)
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            shutil.rmtree(layer.tree)
        assert engine.check(repair=True).clean
        assert engine.containers.run(BASE, ["echo", "in"], network="none", remove=True) == b"in\n"


# -- prune and reset -----------------------------------------------------------------------------------------------------------------------


def test_image_prune_with_filters(own_home: Home) -> None:
    with own_home.open() as engine:
        for name in "abc":
            text = f"FROM {BASE}\nLABEL l={name}\n"
            engine.images.build(text=text, tag=f"p-{name}", network="none")
        engine.images.remove(BASE)
        assert engine.images.prune({"until": "1h", "dangling": False})["ImagesDeleted"] == []
        ids = {name: engine.images.find(f"p-{name}").id for name in "abc"}
        assert engine.images.prune({"label": ["l=a"]})["ImagesDeleted"] == []
        assert engine.images.prune({"label": ["l=a"], "dangling": ["false"]})["ImagesDeleted"] == [ids["a"]]
        assert nbc(own_home, "image", "prune", "-a", "--filter", "label=l=b").stdout.startswith(f"Deleted: {ids['b']}\n")
        done = nbc(own_home, "image", "prune", "--filter", "name=x")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        with pytest.raises(InvalidArgument, match="dangling='maybe'"):
            engine.images.prune({"dangling": "maybe"})
        engine.images.find("p-c")


def test_prune_says_when_layers_are_held(own_home: Home) -> None:
    with own_home.open() as engine:
        with engine._parts.store.lease():
            done = nbc(own_home, "system", "prune")
        assert f"layers were not freed yet: process {os.getpid()} (" in done.stderr
        assert "is pulling, building or the like; prune again" in done.stderr
        assert nbc(own_home, "system", "prune").stderr == ""


def test_prune_takes_anonymous_volumes_only_when_asked(own_home: Home) -> None:
    with own_home.open() as engine:
        engine.volumes.create("named")
        engine.volumes.create()
        engine.networks.create("lonely")
        assert engine.prune().networks == ("lonely",)
        assert len(engine.volumes.list()) == 2
        assert len(engine.prune(volumes=True).volumes) == 1
        assert [volume.name for volume in engine.volumes.list()] == ["named"]


def test_reset_asks_and_keeps_volumes(own_home: Home) -> None:
    with own_home.open() as engine:
        engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, stop_timeout=0, volumes=["data:/data"])
        engine.volumes.get("data").path.joinpath("mine").write_bytes(b"mine")
    done = nbc(own_home, "system", "reset")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "nbc: system reset removes all containers (running ones too), images and networks; confirm it with --force\n"
    done = nbc(own_home, "system", "reset", "--force")
    assert done.returncode == 0, done
    with own_home.open() as engine:
        assert (engine.containers.list(all=True), engine.images.list(), findings(engine)) == ([], [], [])
        assert engine.volumes.get("data").path.joinpath("mine").read_bytes() == b"mine"
    assert nbc(own_home, "system", "reset", "--force", "--volumes").returncode == 0
    with own_home.open() as engine:
        assert engine.volumes.list() == []


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_reset_of_a_store_whose_database_is_broken(own_home: Home, damage: str) -> None:
    """The running container ends, images go, the volume keeps its bytes; the broken database is kept beside the new one."""
    with own_home.open() as engine:
        box = engine.containers.run(BASE, ["sleep", "1000"], network="none", detach=True, stop_timeout=0, volumes=["data:/data"])
        assert isinstance(box, Container)
        engine.volumes.get("data").path.joinpath("mine").write_bytes(b"mine")
        state = box.state
    with open(own_home.root / "nbc.db", "r+b") as file:
        file.seek(0 if damage == "header" else 4096)
        file.write(b"\xff" * 4096 * (1 if damage == "header" else 30))
    done = nbc(own_home, "system", "check")
    assert (done.returncode, "database" in done.stdout) == (1, True), done
    for rename in range(3):
        done = nbc(own_home, "system", "reset", "--force", NBC_FAILPOINTS=f"disk.aside.after_rename={rename}*off->kill9")
        assert done.returncode == -signal.SIGKILL
    assert nbc(own_home, "system", "reset", "--force").returncode == 0
    assert processes.wait_gone(state.pid, state.pid_started, 5)
    assert (own_home.root / "nbc.db.damaged").exists()
    with own_home.open() as engine:
        assert (engine.containers.list(all=True), engine.images.list(), engine.check().clean) == ([], [], True)
        assert engine.volumes.get("data").path.joinpath("mine").read_bytes() == b"mine"
        assert engine.containers.run(BASE, ["echo", "on"], network="none", remove=True) == b"on\n"

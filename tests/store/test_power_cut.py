"""REL-03: a filesystem that loses all that was not fsynced (ext4's shutdown ioctl), at each durable step and right after success."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notebook_containers.oci.image import Digest
from notebook_containers.store.check import check
from notebook_containers.store.collect import collect
from notebook_containers.store.store import Store

RunPython = Callable[..., subprocess.CompletedProcess[str]]
FS_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2

pytestmark = pytest.mark.root


class CrashFS:
    """A small ext4 on a loop device that commits by itself only after 1000 s."""

    def __init__(self, folder: Path) -> None:
        self.image, self.point = folder / "disk0.img", folder / "mnt"
        with open(self.image, "wb") as file:
            file.truncate(48 * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        self.point.mkdir()
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop,commit=1000,data=ordered", self.image, self.point], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.point], check=True)

    def cut(self) -> None:
        """Lose what was not synced, then recover as after a boot."""
        fd = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)
        self.unmount()
        # a copy, because another process's mount namespace may still hold the old mount, and with it the dead filesystem
        old, self.image = self.image, self.image.with_name(f"disk{time.monotonic_ns()}.img")
        shutil.copyfile(old, self.image)
        self.mount()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CrashFS]:
    made = CrashFS(tmp_path)
    yield made
    made.unmount()


OPERATION = """
import io, os, pathlib, sys, tarfile
from notebook_containers.oci.image import ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.store.store import Store
store = Store.open(pathlib.Path(sys.argv[1]))
os.environ["NBC_FAILPOINTS"] = sys.argv[2] + "=1*off->kill9" if sys.argv[2] else ""
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as tar:
    info = tarfile.TarInfo("file")
    info.size = 300000
    tar.addfile(info, io.BytesIO(b"x" * 300000))
with store.lease():
    layer = store.layers.apply(io.BytesIO(buffer.getvalue()))
    store.images.put(ImageConfig(architecture="amd64", os="linux"), [layer], tags=[Reference.parse("new")])
store.volumes.create("volume")
store.records.add_container(id="c1", name="web", image="new", document="{}")
store.content.write(b"loose")
print("done", flush=True)
os._exit(0)
"""


def everything_is_there(store: Store) -> bool:
    image = store.images.resolve("new")
    with store.layers.open_tar(image.diff_ids[0]) as tar:
        assert Digest.of(tar.read()) == image.diff_ids[0]
    assert (store.layers.get(image.diff_ids[0]).tree / "file").read_bytes() == b"x" * 300000
    assert store.volumes.get("volume").path.is_dir()
    assert store.records.container("c1").name == "web"
    return store.content.read(Digest.of(b"loose")) == b"loose"


def test_what_returned_is_there_after_a_cut(disk: CrashFS, run_python: RunPython) -> None:
    done = run_python(OPERATION, disk.point / "store", "")
    disk.cut()
    assert done.stdout == "done\n", done.stderr
    with Store.open(disk.point / "store") as store:
        assert everything_is_there(store)
        assert [finding.kind for finding in check(store)] == ["blob-unreferenced"]


def test_the_check_sees_what_a_cut_loses(disk: CrashFS) -> None:
    """The oracle's own test: bytes that nobody synced are really lost here, and noticed."""
    with Store.open(disk.point / "store") as store:
        digest = Digest.of(b"never synced")
        store.content.path(digest).write_bytes(b"never synced")
    disk.cut()
    with Store.open(disk.point / "store") as store:
        assert not store.content.has(digest)


@pytest.mark.parametrize(
    "point",
    [
        "content.write.before_fsync",
        "content.write.after_fsync",
        "disk.publish.before_rename",
        "disk.publish.after_rename",
        "disk.publish.after_fsync",
        "layers.publish.*",
        "images.*",
        "records.before_commit",
        "records.after_commit",
        "volumes.*",
    ],
)
def test_a_cut_at_a_durable_step_leaves_old_or_new(disk: CrashFS, run_python: RunPython, point: str) -> None:
    done = run_python(OPERATION, disk.point / "store", point)
    disk.cut()
    assert done.returncode in (-9, 0), done.stderr
    with Store.open(disk.point / "store") as store:
        assert [str(finding) for finding in check(store) if not finding.garbage] == []
        collect(store)
    assert run_python(OPERATION, disk.point / "store", "").stdout in ("done\n", "")
    disk.cut()
    with Store.open(disk.point / "store") as store:
        store.images.resolve("new")
        store.records.container("c1")
        assert [str(finding) for finding in check(store) if not finding.garbage] == []

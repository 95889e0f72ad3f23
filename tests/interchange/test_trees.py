"""The valid archives of the attack catalogue, one over the other: what we show of them is what umoci unpacks, and what podman shows."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.oci.image import ImageConfig
from notebook_containers.oci.reference import Reference
from tests.bench.peers.podman import podman
from tests.bench.peers.tool import Tool
from tests.home import Home, new_home
from tests.interchange.conftest import unmounted
from tests.needs import need
from tests.store.hostile import cases, lower, shown
from tests.store.raw_tar import END

pytestmark = pytest.mark.root

ODD = {
    "opaque root": "overlayfs does not ask a layer's root, so we look below it no further",
    "any block device": "umoci refuses numbers that Linux takes",
    "capabilities of a user name space": "umoci sets the third form, which names a user name space that is not there",
    "a harmless global header": "umoci does not know global headers",
    "aufs' own": "umoci makes files of them",
    "a device 0:0": "umoci makes the device, which overlayfs takes for a deletion",
    "below the lower layer's link": "umoci goes through the link, inside the root; docker, podman and we do not",
    "the lower layer's directory becomes a link": "as above, for the layers that follow",
    "contiguous": "umoci does not know the type 7, which every tar reads as a file",
    "the last file counts": "umoci refuses a name twice",
}
PODMAN = {
    "opaque root": ODD["opaque root"],
    "aufs' own": "podman makes files of them",
    "a device 0:0": "podman makes the device, which overlayfs takes for a deletion",
    "marks as attributes": "podman keeps overlayfs' own attributes, which then hide what is below",
    "a harmless global header": "podman makes a directory of its name",
    "slash behind a file": "podman makes a file of it, umoci and we a directory",
    "to a file": "podman gives the file the mode of its hard link's entry; GNU tar, umoci and we do not",
    "contiguous": "podman refuses the type 7, which every tar reads as a file",
    "of a directory made anew": "podman refuses it",
    "of a name of this layer": "podman refuses it",
    **dict.fromkeys(
        ("a link becomes a directory", "a link becomes a file", "the last file counts", "file, then directory", "directory, then file"),
        "podman refuses a name twice in one layer",
    ),
}
KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}


@pytest.fixture
def home(no_leaks: None) -> Iterator[Home]:
    with new_home() as made:
        yield made


def stacked(engine: Engine, canary: bytes, odd: Collection[str]) -> dict[str, str]:
    """Make an image of all valid cases but the odd ones as layers, and return what we show of it."""
    store = engine._parts.store
    layers = [store.layers.apply(io.BytesIO(lower(canary)))]
    for group in cases(canary).values():
        for name, case in group.items():
            if "!" not in case.tree and not case.packed and name not in odd:
                layers.append(store.layers.apply(io.BytesIO(case.data + (END if not len(case.data) % 512 else b""))))
    assert len(layers) > 40
    store.images.put(ImageConfig(architecture="amd64", os="linux"), layers, tags=[Reference.parse("stacked:1").tagged()])
    return shown(store, layers)


def differences(ours: dict[str, str], theirs: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return what is not the same: path → ours, theirs."""
    return {path: (ours.get(path), theirs.get(path)) for path in {*ours, *theirs} if ours.get(path) != theirs.get(path)}


def there(top: Path) -> dict[str, str]:
    """Tell what a directory holds as :func:`shown` does."""
    found: dict[str, str] = {}
    for directory, directories, files in os.walk(os.fsencode(top)):
        for raw in (*directories, *files):
            path = os.path.join(directory, raw)
            status = os.lstat(path)
            kind = KINDS[stat.S_IFMT(status.st_mode)]
            name = os.fsdecode(os.path.relpath(path, os.fsencode(top)))
            owner = f"{kind} {stat.S_IMODE(status.st_mode):o} {status.st_uid}:{status.st_gid}"
            found[name] = f"l -> {os.fsdecode(os.readlink(path))}" if kind == "l" else owner
    return found


def test_the_same_tree_as_umoci(home: Home, tmp_path: Path) -> None:
    need(shutil.which("umoci"), "umoci")
    canary = tmp_path / "canary"
    with home.open() as engine:
        ours = stacked(engine, os.fsencode(canary), ODD)
        engine.images.save_directory(["stacked:1"], tmp_path / "layout")
    Tool("umoci").call("unpack", "--image", f"{tmp_path}/layout:1", str(tmp_path / "bundle"))
    theirs = there(tmp_path / "bundle/rootfs")
    assert differences(ours, theirs) == {}
    assert not canary.exists()


def test_the_same_tree_as_podman(home: Home, tmp_path: Path) -> None:
    need(shutil.which("podman"), "podman")
    with tempfile.TemporaryDirectory(prefix="nbci-", dir="/tmp") as text, unmounted(Path(text)), podman(Path(text)) as pods:
        place = Path(text)
        with home.open() as engine:
            ours = stacked(engine, os.fsencode(place / "canary"), PODMAN)
            engine.images.save_directory(["stacked:1"], tmp_path / "layout")  # podman reads the path as a name: none that ends with _
        image = pods.podman.call("pull", "--quiet", f"oci:{tmp_path}/layout:1").split()[-1]
        theirs = there(Path(pods.podman.call("image", "mount", image).strip()))
        pods.podman.call("image", "umount", image)
        assert differences(ours, theirs) == {}
        assert not (place / "canary").exists()

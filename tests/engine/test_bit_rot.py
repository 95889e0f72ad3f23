"""REL-08: a byte of each kind of file flips: the check names it, the other image goes on, and what is damaged can be taken away."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.image import Image
from notebook_containers.store.store import Store
from tests.home import BASE

pytestmark = pytest.mark.root


def layer(store: Store, image: Image) -> Path:
    return store.content.path(store.layers.get(image.record.diff_ids[-1]).blob.digest)


FILES: dict[str, Callable[[Store, Image], Path]] = {
    "blob-damaged layer": layer,
    "blob-damaged config": lambda store, image: store.content.path(image.record.id),
    "blob-damaged manifest": lambda store, image: store.content.path(image.record.manifest_digest),
    "tree-damaged": lambda store, image: store.layers.get(image.record.diff_ids[-1]).tree / "etc/mine",
}


@pytest.mark.parametrize("name", FILES)
def test_rel08_a_flipped_byte_is_named_and_harms_nothing_else(own: Engine, name: str) -> None:
    store = own._parts.store
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("etc/mine")
        info.size = 1000
        archive.addfile(info, io.BytesIO(os.urandom(1000)))
    own.images.get(BASE)
    image = own.images.import_image(buffer.getvalue(), "rotten")
    path = FILES[name](store, image)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    kinds = {finding.kind for finding in own.check().findings if not finding.garbage}
    assert name.partition(" ")[0] in kinds
    assert own.containers.run(BASE, ["echo", "sound"], network="none", remove=True) == b"sound\n"
    own.images.remove("rotten", force=True)
    own.images.prune()
    assert own.check().clean
    assert own.containers.run(BASE, ["echo", "sound"], network="none", remove=True) == b"sound\n"

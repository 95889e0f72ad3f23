"""A tiny sound image that a scripted registry serves, and what must be true when one is refused."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping

import pytest

from notebook_containers.errors import Error, RegistryError
from notebook_containers.oci.image import CONFIG, LAYER_TAR, MANIFEST, Digest
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.pull import pull
from notebook_containers.store.store import Store
from tests.registry.scripted import Answer, Scripted

LAYER = b"\0" * 1024


class Image:
    """A tiny sound image, and its parts, which tests replace by lies."""

    def __init__(self) -> None:
        self.layer = Digest.of(LAYER)
        self.config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [self.layer]}}).encode()
        self.document: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": Digest.of(self.config), "size": len(self.config)},
            "layers": [{"mediaType": LAYER_TAR, "digest": self.layer, "size": len(LAYER)}],
        }
        self.kind = MANIFEST
        self.headers: Mapping[str, str] = {}

    @property
    def layer_path(self) -> str:
        return f"/v2/a/blobs/{self.layer}"

    def serve(self, server: Scripted) -> None:
        data = json.dumps(self.document).encode()
        server.say("/v2/a/manifests/1", Answer(body=data, headers={"Content-Type": self.kind, **self.headers}))
        server.say(f"/v2/a/blobs/{Digest.of(self.config)}", Answer(body=self.config))
        server.say(self.layer_path, Answer(body=LAYER))


def serve_layers(server: Scripted, *contents: bytes, bytes_per_s: int = 0) -> str:
    """Have a registry serve ``slow:1``, an image with a layer (one file) of each content, not faster than this; returns its name."""
    blobs = [_archive(f"file{number}", data) for number, data in enumerate(contents)]
    digests = [Digest.of(blob) for blob in blobs]
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": digests}}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": Digest.of(config), "size": len(config)},
        "layers": [{"mediaType": LAYER_TAR, "digest": digest, "size": len(blob)} for digest, blob in zip(digests, blobs, strict=True)],
    }
    server.say("/v2/slow/manifests/1", Answer(body=json.dumps(document).encode(), headers={"Content-Type": MANIFEST}))
    for digest, blob in zip([Digest.of(config), *digests], [config, *blobs], strict=True):
        server.say(f"/v2/slow/blobs/{digest}", Answer(body=blob, bytes_per_s=bytes_per_s))
    return f"{server.host}/slow:1"


def _archive(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def pull_it(store: Store, server: Scripted) -> None:
    pull(store, Reference.parse(f"{server.host}/a:1"))


def refused(store: Store, server: Scripted, kind: type[Error] = RegistryError, match: str | None = None) -> Error:
    """Pull, which must fail in one line and leave no image, no layer and nothing staged."""
    with pytest.raises(kind, match=match) as caught:
        pull_it(store, server)
    assert "\n" not in caught.value.one_line()
    assert store.images.list() == []
    assert store.layers.list() == []
    assert os.listdir(store.disk.staging) == []
    return caught.value

"""Bad input, one test each: one clear line, nothing visible in the store, temporary space freed."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.errors import Error, InvalidDocument, InvalidReference, RegistryError
from notebook_containers.oci.image import INDEX, LAYER_GZIP, LAYER_TAR, Digest
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.pull import pull
from notebook_containers.store.store import Store
from tests.registry.images import Image, refused
from tests.registry.scripted import Answer, Scripted
from tests.registry.test_hostile import BigImage

Serve = Callable[..., Scripted]


@pytest.fixture
def served(scripted: Serve) -> tuple[Scripted, BigImage]:
    server, image = scripted(), BigImage()
    image.serve(server)
    return server, image


def tidy(store: Store) -> None:
    """Nothing is visible, and nothing takes space but what a next pull would use again (config blobs)."""
    assert store.images.list() == []
    assert store.layers.list() == []
    assert os.listdir(store.disk.staging) == []
    assert os.listdir(store.root / "layers") == []
    assert sum(size for _digest, size in store.content.list()) < 10_000


def test_bad_a_wrong_digest(store: Store, served: tuple[Scripted, BigImage]) -> None:
    server, image = served
    server.say(image.layer_path, Answer(body=image.tar[:-1] + b"\1"))
    error = refused(store, server, RegistryError, match="sent wrong bytes")
    assert str(image.layer) in str(error)
    tidy(store)


def test_bad_a_wrong_diff_id(store: Store, served: tuple[Scripted, BigImage]) -> None:
    """The blob is what the manifest says, and not what the config says."""
    server, image = served
    wrong = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [Digest.of(b"other")]}}
    image.set_config(wrong)
    image.serve(server)
    refused(store, server, RegistryError, match="is not the layer")
    tidy(store)


def test_bad_a_truncated_blob(store: Store, served: tuple[Scripted, BigImage]) -> None:
    server, image = served
    server.say(image.layer_path, Answer(body=image.tar, cut=100_000))
    refused(store, server, RegistryError, match="broke after")
    tidy(store)


def test_bad_an_archive_that_is_none(store: Store, served: tuple[Scripted, BigImage]) -> None:
    server, image = served
    image.tar = b"\x1f\x8b" + b"no gzip" * 1000
    image.layer = Digest.of(image.tar)
    image.set_config({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [image.layer]}})
    image.document["layers"] = [{"mediaType": LAYER_GZIP, "digest": image.layer, "size": len(image.tar)}]
    image.serve(server)
    refused(store, server, InvalidDocument, match="damaged")
    tidy(store)


def test_bad_an_unknown_media_type(store: Store, served: tuple[Scripted, BigImage]) -> None:
    server, image = served
    image.document["layers"] = [{"mediaType": "application/x-evil", "digest": image.layer, "size": 10}]
    image.serve(server)
    refused(store, server, InvalidDocument, match="of a kind that cannot be unpacked: 'application/x-evil'")
    image.document["layers"] = [{"mediaType": LAYER_TAR, "digest": image.layer, "size": len(image.tar)}]
    image.document["config"] = {**image.document["config"], "mediaType": "application/vnd.cncf.helm.config.v1+json"}  # type: ignore[dict-item]
    image.serve(server)
    refused(store, server, InvalidDocument, match="not an image's")
    image.kind = "text/html"
    image.document["mediaType"] = "text/html"
    image.serve(server)
    refused(store, server, RegistryError, match="something else than an image")
    tidy(store)


@pytest.mark.parametrize("where", ["manifest", "layer"])
def test_bad_credentials_refused(store: Store, served: tuple[Scripted, BigImage], tmp_path: Path, where: str) -> None:
    server, image = served
    folder = tmp_path / "home" / ".docker"
    folder.mkdir(parents=True)
    auths = {server.host: {"auth": base64.b64encode(b"me:wrong").decode()}}
    (folder / "config.json").write_text(json.dumps({"auths": auths}))
    path = image.layer_path if where == "layer" else "/v2/a/manifests/1"
    server.say(path, Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}))
    error = refused(store, server, RegistryError, match="refuses the login")
    assert error.hint == f"log in with 'nbc login {server.host}'"
    assert len(server.asked(path)) == 2, "a wrong password is not sent again and again"
    tidy(store)


def test_bad_a_platform_that_is_missing(store: Store, served: tuple[Scripted, BigImage]) -> None:
    server, _image = served
    entries = [{"mediaType": LAYER_TAR, "digest": Digest.of(b"x"), "size": 1, "platform": {"architecture": "s390x", "os": "linux"}}]
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    server.say("/v2/a/manifests/1", Answer(body=json.dumps(document).encode(), headers={"Content-Type": INDEX}))
    error = refused(store, server, RegistryError, match="does not exist for linux/")
    assert error.hint == "it exists for linux/s390x"
    tidy(store)


def test_bad_a_registry_that_is_down(store: Store) -> None:
    with pytest.raises(RegistryError, match=r"^cannot reach registry 127\.0\.0\.1:1: connection refused$") as caught:
        pull(store, Reference.parse("127.0.0.1:1/a"))
    assert caught.value.hint == "check the name, the network and that it runs"
    tidy(store)


def test_bad_something_that_is_no_registry(store: Store, scripted: Serve) -> None:
    server = scripted()
    server.say("/v2/a/manifests/1", Answer(body=b"<html>hello</html>", headers={"Content-Type": "text/html"}))
    refused(store, server, InvalidDocument, match="is not valid JSON")
    server.say("/v2/a/manifests/1", Answer(status=404, body=b"<html>not here</html>"))
    refused(store, server, RegistryError, match="has no image")
    tidy(store)


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "a:", "a@", "a@sha256:1", "http://x/y", "a/../b", "x" * 300, "a\x1b[31m", "ä"])
def test_bad_a_reference_that_is_none(store: Store, name: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        pull(store, Reference.parse(name))
    assert "\n" not in caught.value.one_line()
    assert "\x1b" not in caught.value.one_line()
    tidy(store)


def test_bad_a_layer_the_registry_has_lost(store: Store, scripted: Serve) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    del server.answers[image.layer_path]
    error: Error = refused(store, server, RegistryError, match="does not have blob")
    assert error.hint == "the image there is incomplete: push it again"
    tidy(store)

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.errors import ImageNotFound, RegistryError
from notebook_containers.oci.image import LAYER_GZIP, Digest, Platform
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.client import Client
from notebook_containers.registry.listing import tags
from notebook_containers.registry.progress import BlobProgress, TransferEvent
from notebook_containers.registry.pull import pull
from notebook_containers.registry.push import push
from notebook_containers.registry.upload import push_manifest
from notebook_containers.store.check import check
from notebook_containers.store.collect import collect
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.store import Store
from tests.needs import need

MakeImage = Callable[..., ImageRecord]
BIG = bytes(range(256)) * 4000


def files(store: Store, image: ImageRecord) -> dict[str, bytes]:
    trees = [store.layers.get(diff_id).tree for diff_id in image.diff_ids]
    return {path.name: path.read_bytes() for tree in trees for path in sorted(tree.iterdir())}


def phases(seen: list[TransferEvent]) -> set[str]:
    return {step.phase for step in seen if isinstance(step, BlobProgress)}


def test_what_is_pushed_is_pulled_by_another_store(store: Store, other: Store, image: MakeImage, registry: str) -> None:
    made = image(f"{registry}/team/app:v1", BIG, b"second")
    seen: list[TransferEvent] = []
    digest = push(store, Reference.parse(f"{registry}/team/app:v1"), seen.append)
    assert {"waiting", "uploading", "done"} == phases(seen)
    assert store.images.get(made.id).digests == (f"{registry}/team/app@{digest}",)

    seen.clear()
    got = pull(other, Reference.parse(f"{registry}/team/app:v1"), None, seen.append)
    assert {"waiting", "downloading", "verifying", "extracting", "done"} == phases(seen)
    assert all(step.done <= step.total for step in seen if isinstance(step, BlobProgress))
    assert (got.id, got.manifest_digest, got.diff_ids) == (made.id, digest, made.diff_ids)
    assert got.tags == (f"{registry}/team/app:v1",)
    assert {layer.media_type for layer in got.manifest.layers} == {LAYER_GZIP}
    assert files(other, got) == files(store, made) == {"file0": BIG, "file1": b"second"}
    assert check(other) == []
    assert other.images.resolve(f"{registry}/team/app@{digest}").id == made.id
    collect(other)
    assert check(other) == []
    with Client(registry) as client:
        assert tags(client, "team/app") == ["v1"]


def test_a_pulled_image_is_pushed_on_byte_for_byte(store: Store, other: Store, image: MakeImage, registry: str) -> None:
    image(f"{registry}/a:1", BIG)
    digest = push(store, Reference.parse(f"{registry}/a:1"))
    got = pull(other, Reference.parse(f"{registry}/a:1"))
    other.images.tag(got.id, Reference.parse(f"{registry}/b:2"))
    assert push(other, Reference.parse(f"{registry}/b:2")) == digest


def test_a_second_push_and_a_second_pull_move_nothing(store: Store, other: Store, image: MakeImage, registry: str) -> None:
    reference = Reference.parse(f"{registry}/a:1")
    image(str(reference), BIG, b"x")
    first = push(store, reference)
    seen: list[TransferEvent] = []
    assert push(store, reference, seen.append) == first
    assert phases(seen) == {"waiting", "exists"}
    pull(other, reference)
    seen.clear()
    pull(other, reference, None, seen.append)
    assert phases(seen) == {"waiting", "exists"}


def test_a_layer_that_is_here_as_plain_tar_is_not_fetched(store: Store, image: MakeImage, registry: str) -> None:
    reference = Reference.parse(f"{registry}/a:1")
    made = image(str(reference), BIG)
    digest = push(store, reference)
    seen: list[TransferEvent] = []
    got = pull(store, reference, None, seen.append)
    assert phases(seen) == {"waiting", "exists"}
    assert (got.id, got.manifest_digest) == (made.id, digest)
    collect(store)
    assert check(store) == []
    assert push(store, reference) == digest


def test_a_pull_by_digest_gives_no_tag(store: Store, other: Store, image: MakeImage, registry: str) -> None:
    image(f"{registry}/a:1", b"x")
    digest = push(store, Reference.parse(f"{registry}/a:1"))
    got = pull(other, Reference.parse(f"{registry}/a:other@{digest}"))
    assert got.tags == ()
    assert got.digests == (f"{registry}/a@{digest}",)


def test_an_unknown_image_is_one_line_and_leaves_nothing(store: Store, registry: str) -> None:
    with pytest.raises(RegistryError, match=f"registry {registry} has no image {registry}/nothing:latest") as caught:
        pull(store, Reference.parse(f"{registry}/nothing"))
    assert caught.value.hint
    assert store.images.list() == []
    with pytest.raises(RegistryError, match="no image"):
        pull(store, Reference.parse(f"{registry}/nothing@sha256:{'0' * 64}"))
    with Client(registry) as client, pytest.raises(RegistryError, match="no repository nothing"):
        tags(client, "nothing")
    with pytest.raises(ImageNotFound):
        push(store, Reference.parse(f"{registry}/nothing"))


def test_a_registry_that_is_down_is_one_line(store: Store, image: MakeImage) -> None:
    image("127.0.0.1:1/a", b"x")
    for use in (pull, push):
        with pytest.raises(RegistryError, match=r"^cannot reach registry 127\.0\.0\.1:1: connection refused$") as caught:
            use(store, Reference.parse("127.0.0.1:1/a"))
        assert caught.value.hint
    assert len(store.images.list()) == 1


def test_an_unknown_host_is_one_line(store: Store) -> None:
    with pytest.raises(RegistryError, match=r"^cannot reach registry registry\.invalid: its name is unknown$"):
        pull(store, Reference.parse("registry.invalid/a"))


PASSWORD = "s3cret-of-the-test"
HTPASSWD = "me:$2y$05$"


@pytest.fixture
def private(serve_registry: Callable[..., str]) -> str:
    """A registry that wants user ``me`` with PASSWORD (bcrypt)."""
    need(shutil.which("htpasswd"), "htpasswd")
    line = subprocess.run(["htpasswd", "-Bbn", "me", PASSWORD], capture_output=True, text=True, check=True).stdout
    return serve_registry(htpasswd=line)


def write_config(home: Path, registry: str, password: str) -> None:
    folder = home / "home" / ".docker"
    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"me:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}}}))


def test_basic_login_from_the_docker_config(store: Store, other: Store, image: MakeImage, private: str, tmp_path: Path) -> None:
    reference = Reference.parse(f"{private}/a:1")
    made = image(str(reference), BIG)
    with pytest.raises(RegistryError, match="asks for a login") as caught:
        push(store, reference)
    assert caught.value.hint == f"log in with 'nbc login {private}'"
    write_config(tmp_path, private, "wrong")
    with pytest.raises(RegistryError, match="refuses the login") as caught:
        push(store, reference)
    write_config(tmp_path, private, PASSWORD)
    push(store, reference)
    assert pull(other, reference).id == made.id
    for path in (tmp_path / "store" / "nbc.db", tmp_path / "other" / "nbc.db"):
        assert PASSWORD.encode() not in path.read_bytes()


def skopeo(*arguments: str | Path) -> str:
    program = shutil.which("skopeo")
    need(program, "skopeo")
    assert program
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_skopeo_reads_what_we_push(store: Store, image: MakeImage, registry: str, tmp_path: Path) -> None:
    made = image(f"{registry}/a:1", BIG, b"x")
    digest = push(store, Reference.parse(f"{registry}/a:1"))
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{registry}/a:1"))
    assert seen["Digest"] == digest
    skopeo("copy", "--src-tls-verify=false", f"docker://{registry}/a:1", f"oci:{tmp_path / 'layout'}:1")
    assert (tmp_path / "layout" / "blobs" / "sha256" / made.id.hex).exists()


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_we_read_what_skopeo_pushes(store: Store, other: Store, image: MakeImage, registry: str, form: str) -> None:
    made = image(f"{registry}/a:1", BIG, b"x")
    push(store, Reference.parse(f"{registry}/a:1"))
    source, target = f"docker://{registry}/a:1", f"docker://{registry}/b:{form}"
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", form, source, target)
    got = pull(other, Reference.parse(f"{registry}/b:{form}"))
    assert got.diff_ids == made.diff_ids
    assert files(other, got) == files(store, made)
    assert ("docker" in got.manifest.media_type) == (form == "v2s2")
    assert check(other) == []


def push_index(registry: str, entries: list[dict[str, object]], **more: object) -> Digest:
    kind = "application/vnd.oci.image.index.v1+json"
    data = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries, **more}).encode()
    with Client(registry) as client:
        return push_manifest(client, "a", "multi", data, kind)


def test_an_index_gives_the_image_of_the_platform(store: Store, other: Store, image: MakeImage, registry: str) -> None:
    entries: list[dict[str, object]] = []
    made = {}
    for architecture in ("amd64", "arm64"):
        record = made[architecture] = image(f"{registry}/a:{architecture}", architecture.encode(), architecture=architecture)
        digest = push(store, Reference.parse(f"{registry}/a:{architecture}"))
        with Client(registry) as client:
            size = len(client.manifest("a", digest).data)
        where = {"architecture": architecture, "os": "linux"}
        entries.append({"mediaType": record.manifest.media_type, "digest": digest, "size": size, "platform": where})
    index = push_index(registry, entries)
    reference = Reference.parse(f"{registry}/a:multi")
    got = pull(other, reference, Platform(architecture="arm64"))
    assert got.id == made["arm64"].id
    assert f"{registry}/a@{index}" in got.digests
    assert other.images.resolve(f"{registry}/a@{index}").id == got.id
    with pytest.raises(RegistryError, match=f"^image {registry}/a:multi does not exist for linux/s390x$") as caught:
        pull(other, reference, Platform(architecture="s390x"))
    assert caught.value.hint == "it exists for linux/amd64, linux/arm64"

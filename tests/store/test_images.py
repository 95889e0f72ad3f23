from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from notebook_containers.errors import Conflict, Corrupt, ImageNotFound, InvalidArgument, InvalidDocument, InvalidReference, StoreError
from notebook_containers.oci.image import CONFIG, MANIFEST, Descriptor, Digest, ImageConfig, Manifest, RootFS
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord, parse_manifest, seconds
from notebook_containers.store.store import Store

MakeImage = Callable[..., ImageRecord]


def test_an_image_is_found_by_every_kind_of_name(store: Store, image: MakeImage) -> None:
    made = image("hello:v1", b"a", b"b")
    assert made.tags == ("hello:v1",)
    assert made.config.rootfs.diff_ids == made.diff_ids
    assert len(made.manifest.layers) == 2
    assert made.manifest.config.digest == made.id
    assert made.size == sum(size for _diff_id, size in made.layer_sizes) > 0
    assert made.created == seconds("2026-01-02T03:04:05Z") == 1767323045.0
    for text in ("hello:v1", "docker.io/library/hello:v1", made.id, made.id.hex, made.id.short, made.id[:20], made.id.hex[:2]):
        assert store.images.resolve(text) == made
    assert store.images.resolve(f"hello@{made.manifest_digest}") == made
    assert store.images.resolve(f"hello:other@{made.manifest_digest}") == made
    assert store.images.get(made.id) == made


@pytest.mark.parametrize("text", ["hello", "hello:v2", "localhost/hello:v1", "hell", "ffffffffffff", "hello@sha256:" + "0" * 64])
def test_what_is_not_there_is_not_found(store: Store, image: MakeImage, text: str) -> None:
    made = image("hello:v1", b"a")
    assert not made.id.hex.startswith("ffffff")
    with pytest.raises(ImageNotFound, match=r"^no image '"):
        store.images.resolve(text)


def test_a_digest_needs_the_images_own_name(store: Store, image: MakeImage) -> None:
    made = image("hello:v1", b"a")
    image("other:v1", b"b")
    with pytest.raises(ImageNotFound):
        store.images.resolve(f"other@{made.manifest_digest}")


def test_a_near_name_is_offered_else_how_to_get_it(store: Store, image: MakeImage) -> None:
    image("hello", b"a")
    with pytest.raises(ImageNotFound) as caught:
        store.images.resolve("helo")
    assert caught.value.hint == "did you mean hello:latest?"
    with pytest.raises(ImageNotFound) as caught:
        store.images.resolve("debian:12")
    assert caught.value.hint == "build it, or get it with 'nbc pull debian:12'"


@pytest.mark.parametrize("text", ["", "Hello World", "a/../b", "x@sha256:12"])
def test_what_is_no_name_is_an_invalid_reference(store: Store, text: str) -> None:
    with pytest.raises(InvalidReference):
        store.images.resolve(text)


def test_a_name_wins_over_an_id_prefix_and_a_prefix_must_be_unambiguous(store: Store, image: MakeImage) -> None:
    made = [image(f"n{number}", str(number).encode()) for number in range(40)]
    prefixes = [record.id.hex[:2] for record in made]
    twice = next(prefix for prefix in prefixes if prefixes.count(prefix) > 1)
    with pytest.raises(Conflict, match="more than one image"):
        store.images.resolve(twice)
    named = image(twice, b"named")
    assert store.images.resolve(twice) == named


def test_a_moved_tag_leaves_the_old_image_without_name(store: Store, image: MakeImage) -> None:
    old = image("hello", b"a")
    new = image("hello", b"b")
    assert store.images.get(old.id).tags == ()
    assert store.images.resolve("hello") == new
    assert [record.id for record in store.images.list()] == sorted([old.id, new.id])
    store.images.tag(old.id, Reference.parse("hello"))
    assert store.images.get(old.id).tags == ("hello:latest",)
    assert store.images.get(new.id).tags == ()


def test_tag_untag_remove(store: Store, image: MakeImage) -> None:
    made = image("", b"a")
    assert made.tags == ()
    store.images.tag(made.id, Reference.parse("localhost:5000/x/y:1"))
    store.images.tag(made.id, Reference.parse("b"))
    assert store.images.get(made.id).tags == ("b:latest", "localhost:5000/x/y:1")
    store.images.untag(Reference.parse("b"))
    with pytest.raises(ImageNotFound, match="b:latest"):
        store.images.untag(Reference.parse("b"))
    store.images.remove(made.id)
    for use in (store.images.remove, store.images.get):
        with pytest.raises(ImageNotFound):
            use(made.id)
    with pytest.raises(ImageNotFound):
        store.images.tag(made.id, Reference.parse("b"))
    with pytest.raises(ImageNotFound):
        store.images.resolve("localhost:5000/x/y:1")
    with pytest.raises(InvalidArgument, match="has a digest"):
        store.images.tag(made.id, Reference.parse("x@sha256:" + "0" * 64))
    assert store.images.list() == []


def test_the_same_image_twice_is_one(store: Store, image: MakeImage) -> None:
    first, second = image("a", b"x", label="l"), image("b", b"x", label="l")
    assert first.id == second.id
    assert second.tags == ("a:latest", "b:latest")
    assert second.labels == {"label": "l"}
    assert len(store.images.list()) == 1


def test_a_list_reads_no_blob(store: Store, image: MakeImage) -> None:
    made = image("a", b"x", b"y", label="l")
    shutil.rmtree(store.root / "blobs" / "sha256")
    (record,) = store.images.list()
    assert (record.tags, record.labels, record.size, record.diff_ids) == (made.tags, made.labels, made.size, made.diff_ids)
    with pytest.raises(StoreError, match=record.id):
        _ = record.config


def test_a_damaged_config_is_corrupt(store: Store, image: MakeImage) -> None:
    made = image("a", b"x")
    store.content.path(made.id).write_bytes(b"{}")
    with pytest.raises(Corrupt):
        _ = store.images.get(made.id).config


def pulled(store: Store, made: ImageRecord, **change: object) -> Manifest:
    document = {**made.manifest.to_json(), "annotations": {"from": "registry"}, **change}
    return Manifest.from_json(document)  # type: ignore[arg-type]


def test_a_pulled_manifest_keeps_its_bytes_and_its_digest_name(store: Store, image: MakeImage) -> None:
    made = image("a", b"x")
    data = pulled(store, made).to_bytes() + b"\n"
    digest = Digest.of(data)
    tags = [Reference.parse("reg.example/a:1"), Reference.parse(f"reg.example/a@{digest}")]
    record = store.images.put_manifest(data, tags=tags)
    assert record.id == made.id
    assert record.manifest_digest == digest
    assert store.content.read(digest) == data
    assert record.digests == (f"reg.example/a@{digest}",)
    assert record.tags == ("a:latest", "reg.example/a:1")
    assert store.images.resolve(f"reg.example/a@{digest}").id == made.id


def test_a_manifest_without_its_parts_is_refused(store: Store, image: MakeImage) -> None:
    made = image("a", b"x")
    absent = Descriptor(media_type=CONFIG, digest=Digest.of(b"absent"), size=6)
    with pytest.raises(StoreError, match=absent.digest):
        store.images.put_manifest(Manifest(schema_version=2, media_type=MANIFEST, config=absent).to_bytes())
    with pytest.raises(InvalidDocument, match="0 layers and its config 1"):
        store.images.put_manifest(pulled(store, made, layers=[]).to_bytes())
    config = ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=(Digest.of(b"absent"),))).to_bytes()
    digest = store.content.write(config)
    manifest = Manifest(
        schema_version=2, config=Descriptor(media_type=CONFIG, digest=digest, size=len(config)), layers=(made.manifest.layers[0],)
    )
    with pytest.raises(StoreError, match=f"layer {Digest.of(b'absent').short} is not in the store"):
        store.images.put_manifest(manifest.to_bytes())
    assert len(store.images.list()) == 1


@pytest.mark.parametrize(
    "change",
    [
        '"manifests":[]',
        '"schemaVersion":1',
        '"mediaType":"application/vnd.oci.image.index.v1+json"',
        '"config":{"mediaType":"application/vnd.x","digest":"sha256:' + "0" * 64 + '","size":2}',
        '"config":{"mediaType":"' + CONFIG + '","digest":"sha256:../../x","size":2}',
        '"layers":[' + ",".join(['{"mediaType":"t","digest":"sha256:' + "0" * 64 + '","size":2}'] * 501) + "]",
        '"layers":{}',
        '"schemaVersion":2,"schemaVersion":2',
    ],
)
def test_reg06_doubtful_manifests_are_refused(change: str) -> None:
    key = change.partition(":")[0]
    base = ['"schemaVersion":2', '"config":{"mediaType":"' + CONFIG + '","digest":"sha256:' + "0" * 64 + '","size":2}', '"layers":[]']
    text = "{" + ",".join([*(part for part in base if not part.startswith(key)), change]) + "}"
    parse_manifest(("{" + ",".join(base) + "}").encode())
    with pytest.raises(InvalidDocument):
        parse_manifest(text.encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T01:00:00.123456789+01:00", 0.123456), ("", 0.0), ("yesterday", 0.0)],
)
def test_times_are_read_or_zero(text: str, expected: float) -> None:
    assert seconds(text) == expected

"""Saved and loaded: each form of an archive and a directory, several platforms, and what is none of them or lies."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from notebook_containers import Engine
from notebook_containers.engine.image import Image
from notebook_containers.errors import Corrupt, Error, InvalidArgument, InvalidDocument, NotFound
from notebook_containers.oci.image import INDEX, LAYER_TAR, MANIFEST, Digest
from tests.engine.tars import contents, tar
from tests.home import Home

pytestmark = pytest.mark.root

LAYER = tar(("file", b"hello"))


@pytest.fixture
def image(own: Engine) -> Image:
    return own.images.import_image(LAYER, "made", "1", message="made here", changes=["ENV A=b"])


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_each_archive_there_and_back(own: Engine, image: Image, form: str) -> None:
    own.images.tag("made:1", "again:2")
    data = b"".join(own.images.save(["made:1", "again:2"], format=form))
    assert ("manifest.json" in contents(data)) == (form == "docker-archive")
    manifest = image.record.manifest_digest
    own.images.remove(image.id, force=True)
    assert own.images.list() == []
    (loaded,) = own.images.load(data)
    assert (loaded.id, sorted(loaded.tags), loaded.record.manifest_digest) == (image.id, ["again:2", "made:1"], manifest)
    assert b"".join(own.images.save(["made:1", "again:2"], format=form)) == data


@pytest.mark.parametrize("form", ["oci-dir", "docker-dir"])
def test_each_directory_there_and_back(own: Engine, own_home: Home, image: Image, form: str) -> None:
    place = own_home.top / "saved"
    own.images.save_directory(["made:1"], place, format=form)
    assert sorted(p.name for p in own_home.top.iterdir() if "part" in p.name) == []
    own.images.remove("made:1")
    (loaded,) = own.images.load_directory(place)
    assert loaded.id == image.id
    assert loaded.tags == (("made:1",) if form == "oci-dir" else ())
    with pytest.raises(InvalidArgument, match="there already"):
        own.images.save_directory([loaded.id], place, format=form)


def test_a_docker_dir_has_schema_2_and_one_image(own: Engine, own_home: Home, image: Image) -> None:
    own.images.save_directory(["made:1"], own_home.top / "d", format="docker-dir")
    manifest = json.loads((own_home.top / "d/manifest.json").read_bytes())
    assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert {p.name for p in (own_home.top / "d").iterdir()} == {
        "version", "manifest.json", manifest["config"]["digest"][7:], *(layer["digest"][7:] for layer in manifest["layers"])
    }  # fmt: skip
    other = own.images.import_image(tar(("x", b"y")), "other")
    with pytest.raises(InvalidArgument, match="one image"):
        own.images.save_directory(["made:1", other.id], own_home.top / "e", format="docker-dir")


# several platforms


class Layout:
    """An OCI image layout made by hand: an index of images for several platforms."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(self, data: bytes) -> dict[str, object]:
        digest = Digest.of(data)
        self.files[f"blobs/sha256/{digest.hex}"] = data
        return {"digest": digest, "size": len(data)}

    def image(self, architecture: str, *, media_type: str = LAYER_TAR, variant: str = "") -> dict[str, object]:
        config = {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [Digest.of(LAYER)]}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **self.blob(json.dumps(config).encode())},
            "layers": [{"mediaType": media_type, **self.blob(LAYER)}],
        }
        platform = {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}
        return {"mediaType": MANIFEST, **self.blob(json.dumps(manifest).encode()), "platform": platform}

    def index(self, *entries: dict[str, object], name: str = "many:1") -> bytes:
        inner = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
        outer = {"mediaType": INDEX, **self.blob(json.dumps(inner).encode()), "annotations": {"io.containerd.image.name": name}}
        self.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [outer]}).encode()
        return tar(*self.files.items())


def test_of_several_platforms_one_is_chosen(own: Engine) -> None:
    layout = Layout()
    arm, ours = layout.image("arm64"), layout.image("amd64")
    attest = {**layout.image("amd64"), "platform": {"os": "unknown", "architecture": "unknown"}}
    data = layout.index(arm, attest, ours)
    (loaded,) = own.images.load(data, platform="linux/arm64")
    assert (loaded.attrs["Architecture"], loaded.tags) == ("arm64", ("many:1",))
    (loaded,) = own.images.load(data, platform="amd64")
    assert loaded.attrs["Architecture"] == "amd64"
    with pytest.raises(NotFound, match="linux/riscv64") as caught:
        own.images.load(data, platform="linux/riscv64")
    assert "linux/amd64, linux/arm64" in caught.value.hint
    with pytest.raises(InvalidArgument, match="no platform"):
        own.images.load(data, platform="a/b/c/d")
    assert b"arm64" not in b"".join(own.images.save(["many:1"], platform="linux/amd64"))
    with pytest.raises(NotFound, match="linux/s390x") as caught:
        own.images.save(["many:1"], platform="linux/s390x")
    assert "linux/amd64" in caught.value.hint


def test_platforms_that_are_loaded_one_by_one_are_one_name(own: Engine) -> None:
    """Of one archive they are the archive's index again; of archives of one image each an index is made, as ``manifest create`` would."""
    layout = Layout()
    data = layout.index(layout.image("arm64"), layout.image("amd64"))
    top = json.loads(layout.files["index.json"])["manifests"][0]["digest"]
    for platform in ("linux/amd64", "linux/arm64", "linux/arm64"):
        own.images.load(data, platform=platform)
        assert own.images.get("many:1").attrs["Architecture"] == "amd64"
    assert {image.tags for image in own.images.list()} == {("many:1",)}
    saved = contents(b"".join(own.images.save(["many:1"])))
    assert [entry["digest"] for entry in json.loads(saved["index.json"])["manifests"]] == [top]
    parts = {a: b"".join(own.images.save(["many:1"], platform=f"linux/{a}")) for a in ("arm64", "amd64")}
    own.images.remove("many:1")
    other = Layout()
    parts["s390x"] = other.index(other.image("s390x"))
    own.images.load(parts["arm64"])
    for architecture in ("s390x", "amd64", "amd64"):
        (loaded,) = own.images.load(parts[architecture], platform=f"linux/{architecture}")
        assert (loaded.attrs["Architecture"], loaded.tags) == (architecture, ("many:1",))
    assert own.images.get("many:1").attrs["Architecture"] == "amd64"
    saved = contents(b"".join(own.images.save(["many:1"])))
    (entry,) = json.loads(saved["index.json"])["manifests"]
    index = json.loads(saved["blobs/sha256/" + entry["digest"][7:]])
    assert sorted(each["platform"]["architecture"] for each in index["manifests"]) == ["amd64", "arm64", "s390x"]
    own.images.load(parts["amd64"])
    with pytest.raises(NotFound, match="linux/arm64"):
        own.images.save(["many:1"], platform="linux/arm64")  # without --platform the name is what the archive says


def test_an_archive_with_another_platform_than_its_index_names_first(own: Engine) -> None:
    layout = Layout()
    absent = layout.image("amd64")
    layout.files.pop(f"blobs/sha256/{str(absent['digest'])[7:]}")
    data = layout.index(absent, layout.image("arm64"))
    (loaded,) = own.images.load(data, platform="linux/arm64")
    assert loaded.attrs["Architecture"] == "arm64"
    with pytest.raises(NotFound, match="linux/amd64") as caught:
        own.images.load(data, platform="linux/amd64")
    assert "linux/arm64" in caught.value.hint


def test_manifests_of_one_name_side_by_side_are_platforms(own: Engine) -> None:
    layout = Layout()
    entries = [{**layout.image(a), "annotations": {"io.containerd.image.name": "side:1"}} for a in ("arm64", "s390x")]
    layout.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    data = tar(*layout.files.items())
    with pytest.raises(NotFound, match="side:1") as caught:
        own.images.load(data, platform="linux/386")
    assert "linux/arm64, linux/s390x" in caught.value.hint
    (loaded,) = own.images.load(data, platform="linux/s390x")
    assert loaded.attrs["Architecture"] == "s390x"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_all_platforms_of_a_name_there_and_back(own: Engine, form: str) -> None:
    layout = Layout()
    data = layout.index(layout.image("s390x"), layout.image("amd64"))
    top = json.loads(layout.files["index.json"])["manifests"][0]["digest"]
    loaded = {image.attrs["Architecture"]: image.id for image in own.images.load(data)}
    assert set(loaded) == {"amd64", "s390x"}
    assert {image.tags for image in own.images.list()} == {("many:1",)}
    saved = b"".join(own.images.save(["many:1"], format=form))
    found = contents(saved)
    assert [entry["digest"] for entry in json.loads(found["index.json"])["manifests"]] == [top], "the index is saved as it came"
    if form == "docker-archive":
        (entry,) = json.loads(found["manifest.json"])
        assert (entry["Config"].rpartition("/")[2], entry["RepoTags"]) == (loaded["amd64"][7:], ["many:1"]), (
            "docker's list knows no platforms"
        )
    lines = own.images.remove("many:1")
    assert own.images.list() == []
    assert [line for line in lines if "Untagged" in line] == [{"Untagged": "many:1"}]
    assert {image.id for image in own.images.load(saved)} == set(loaded.values())
    assert own.images.get("many:1").id == loaded["amd64"]
    assert b"".join(own.images.save(["many:1"], format=form)) == saved
    own.images.tag("many:1", "more:1")
    assert b"s390x" in b"".join(own.images.save(["more:1"], platform="linux/s390x"))
    with pytest.raises(NotFound, match="image more:1 is not here for linux/386") as caught:
        own.containers.create("more:1", platform="linux/386", pull="never")
    assert caught.value.hint.startswith("it is here for linux/amd64, linux/s390x; get the other with")


def test_a_part_of_an_index_is_loaded_as_what_it_is(own: Engine) -> None:
    layout = Layout()
    absent = layout.image("arm64")
    layout.files.pop(f"blobs/sha256/{str(absent['digest'])[7:]}")
    (loaded,) = own.images.load(layout.index(absent, layout.image("amd64")))
    assert (loaded.attrs["Architecture"], loaded.tags) == ("amd64", ("many:1",))


def test_an_image_for_another_machine_alone_is_loaded(own: Engine) -> None:
    layout = Layout()
    (loaded,) = own.images.load(layout.index(layout.image("s390x")))
    assert loaded.attrs["Architecture"] == "s390x"


def test_import_for_a_platform(own: Engine) -> None:
    image = own.images.import_image(LAYER, platform="linux/arm/v7", message="m", changes=["CMD x"])
    assert (image.attrs["Os"], image.attrs["Architecture"], image.attrs["Variant"], image.attrs["Comment"]) == ("linux", "arm", "v7", "m")


# what is none, or lies


def _wrong_blob(layout: Layout) -> bytes:
    data = layout.index(layout.image("amd64"))
    name = next(name for name in layout.files if layout.files[name] == LAYER)
    layout.files[name] = LAYER[:-1] + b"x"
    del data
    return tar(*layout.files.items())


def _wrong_size(layout: Layout) -> bytes:
    return layout.index({**layout.image("amd64"), "size": 5})


def _missing(layout: Layout) -> bytes:
    layout.index(layout.image("amd64"))
    return tar(*((name, data) for name, data in layout.files.items() if data != LAYER))


def _traversal(layout: Layout) -> bytes:
    return tar(("manifest.json", json.dumps([{"Config": "../../etc/passwd", "Layers": []}]).encode()))


def _of_type(media_type: str) -> Callable[[Layout], bytes]:
    return lambda layout: layout.index(layout.image("amd64", media_type=media_type))


BAD: dict[str, tuple[Callable[[Layout], bytes], type[Error], str]] = {
    "no image": (lambda _: tar(("etc/passwd", b"x")), InvalidDocument, "holds no image"),
    "an archive of a docker before 1.10": (lambda _: tar(("repositories", b"{}")), InvalidDocument, "holds no image"),
    "cut": (lambda layout: layout.index(layout.image("amd64"))[:13_000], InvalidDocument, "middle of an entry|no 'blobs|holds no image"),
    "no tar at all": (lambda _: b"GIF89a" * 1000, InvalidDocument, "no tar archive"),
    "a wrong digest": (_wrong_blob, Corrupt, "wrong bytes"),
    "a wrong size": (_wrong_size, Corrupt, "another one"),
    "a blob that is not there": (_missing, InvalidDocument, "has no 'blobs"),
    "a path out of the archive": (_traversal, InvalidDocument, "has no '../../etc/passwd'"),
    "an unknown kind of layer": (
        lambda layout: layout.index(layout.image("amd64", media_type="application/x-evil")),
        InvalidDocument,
        "x-evil",
    ),
    "an encrypted layer": (
        lambda layout: layout.index(layout.image("amd64", media_type=LAYER_TAR + "+encrypted")),
        InvalidDocument,
        "encrypted",
    ),
    "deep JSON": (lambda _: tar(("manifest.json", b"[" * 100_000)), InvalidDocument, "manifest.json"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_image_is_told_in_one_line_and_leaves_nothing(own: Engine, own_home: Home, name: str) -> None:
    make, error, says = BAD[name]
    data = make(Layout())
    with pytest.raises(error, match=says) as caught:
        own.images.load(io.BytesIO(data))
    assert "\n" not in caught.value.one_line()
    assert own.images.list() == []
    assert left(own_home) == []


@pytest.mark.parametrize("data", [b"GIF89a" * 1000, b"", LAYER[:700]])
def test_what_is_no_file_system_is_not_imported(own: Engine, own_home: Home, data: bytes) -> None:
    if data:
        with pytest.raises(InvalidDocument):
            own.images.import_image(data)
        assert left(own_home) == []
    else:
        assert own.images.import_image(data).layers


def test_a_directory_leads_nowhere_else(own: Engine, own_home: Home) -> None:
    place = own_home.top / "layout"
    (place / "blobs/sha256").mkdir(parents=True)
    layout = Layout()
    layout.index(layout.image("amd64"))
    (own_home.top / "secret").write_bytes(LAYER)
    for name, data in layout.files.items():
        if data == LAYER:
            (place / name).symlink_to(own_home.top / "secret")
        else:
            (place / name).write_bytes(data)
    with pytest.raises(InvalidDocument, match="has no file"):
        own.images.load_directory(place)
    assert left(own_home) == []


def left(home: Home) -> list[str]:
    """Everything in the store but its database and locks."""
    kinds = ("blobs", "layers", "tmp", "trash")
    return [str(p) for kind in kinds for p in (home.root / kind).rglob("*") if p.is_file() and p.suffix != ".lock"]

"""Images as files: there and back, with skopeo as the other opinion; archives that lie are refused."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.image import Image
from notebook_containers.errors import Corrupt, ImageNotFound, InvalidDocument
from tests.engine.tars import contents, tar
from tests.home import BASE, Home

pytestmark = pytest.mark.root


@pytest.fixture
def other(own_home: Home) -> Iterator[Engine]:
    """An engine without any image."""
    with own_home.open() as engine:
        yield engine


@pytest.fixture
def image(engine: Engine) -> Iterator[Image]:
    made = engine.images.build(
        text=f"FROM {BASE}\nRUN echo saved > /saved\nCMD cat /saved\nLABEL a=b\n", tag="saved:1", network="none"
    ).image
    yield made
    engine.images.remove(made.id, force=True)


def saved(engine: Engine, *names: str) -> bytes:
    return b"".join(engine.images.save(names))


def test_there_and_back_is_the_same_image(engine: Engine, other: Engine, image: Image) -> None:
    engine.images.tag("saved:1", "second/name:2")
    data = saved(engine, "saved:1", "second/name:2")
    (loaded,) = other.images.load(data)
    assert (loaded.id, sorted(loaded.tags)) == (image.id, ["saved:1", "second/name:2"])
    assert loaded.attrs["RootFS"] == image.attrs["RootFS"]
    assert other.containers.run("saved:1", network="none", remove=True) == b"saved\n"
    assert saved(other, "saved:1", "second/name:2") == data


def test_the_archive_is_both_layouts(engine: Engine, image: Image) -> None:
    files = contents(saved(engine, "saved:1"))
    (entry,) = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["saved:1"]
    assert {entry["Config"], *entry["Layers"]} <= set(files)
    index = json.loads(files["index.json"])
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "1"
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_skopeo_reads_it_and_what_it_writes_is_read(engine: Engine, other: Engine, image: Image, tmp_path: Path, form: str) -> None:
    (tmp_path / "ours.tar").write_bytes(saved(engine, "saved:1"))
    source = f"{form}:{tmp_path}/ours.tar" + (":saved:1" if form == "docker-archive" else ":1")
    target = f"{form}:{tmp_path}/theirs.tar:again:1"
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", source, target], check=True, timeout=60)
    with open(tmp_path / "theirs.tar", "rb") as file:
        (loaded,) = other.images.load(file)
    assert (loaded.id, loaded.tags) == (image.id, ("again:1",))
    assert other.containers.run("again:1", network="none", remove=True) == b"saved\n"


def test_a_compressed_archive_in_pieces_is_read(engine: Engine, other: Engine, image: Image) -> None:
    import gzip

    packed = gzip.compress(saved(engine, "saved:1"), 1)
    (loaded,) = other.images.load(packed[at : at + 10_000] for at in range(0, len(packed), 10_000))
    assert loaded.id == image.id


def _changed(data: bytes, change: str, value: bytes) -> bytes:
    return tar(*((name, value if name == change else old) for name, old in contents(data).items()))


def test_reg13_an_archive_that_lies_is_refused_and_leaves_nothing(engine: Engine, other: Engine, image: Image) -> None:
    data = saved(engine, "saved:1")
    (entry,) = json.loads(contents(data)["manifest.json"])
    layer = entry["Layers"][-1]
    with pytest.raises(Corrupt):
        other.images.load(_changed(data, layer, tar(("evil", b"x"))))
    renamed = contents(data)
    renamed["layer.tar"] = tar(("evil", b"x"))
    renamed["manifest.json"] = json.dumps([{**entry, "Layers": [*entry["Layers"][:-1], "layer.tar"]}]).encode()
    with pytest.raises(Corrupt):
        other.images.load(tar(*renamed.items()))
    renamed["manifest.json"] = json.dumps([{**entry, "Layers": ["../../etc/passwd"] * len(entry["Layers"])}]).encode()
    with pytest.raises(InvalidDocument, match="has no"):
        other.images.load(tar(*renamed.items()))
    renamed["manifest.json"] = json.dumps([{**entry, "Layers": entry["Layers"][:-1]}]).encode()
    with pytest.raises(InvalidDocument, match="layers and its config"):
        other.images.load(tar(*renamed.items()))
    for nonsense in (tar(("a", b"b")), b"no tar" * 200):
        with pytest.raises(InvalidDocument):
            other.images.load(nonsense)
    assert other.images.list() == []


def test_reg13_the_names_in_an_archive_can_be_refused(engine: Engine, other: Engine, image: Image) -> None:
    """CVE-2026-50195's kind: an archive claims a name that another image has."""
    data = saved(engine, "saved:1")
    theirs = other.images.import_image(tar(("own", b"x")), "saved:1")
    (loaded,) = other.images.load(data, named=False)
    assert (loaded.id, list(loaded.tags)) == (image.id, [])
    assert other.images.get("saved:1").id == theirs.id
    (loaded,) = other.images.load(data)
    assert list(loaded.tags) == ["saved:1"]
    assert other.images.get("saved:1").id == image.id


def test_reg13_links_in_an_archive_lead_nowhere_else(other: Engine) -> None:
    for target in ("/etc/passwd", "../../../etc/passwd", "manifest.json"):
        link = tarfile.TarInfo("manifest.json")
        link.type, link.linkname = tarfile.SYMTYPE, target
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(link)
        with pytest.raises(InvalidDocument, match="holds no image"):
            other.images.load(buffer.getvalue())
    with pytest.raises(InvalidDocument):
        other.images.load(tar(("blobs/sha256/../../../x", b"x"), ("manifest.json", b"[]"), ("blobs/md5/x", b"x")))
    assert other.images.list() == []


def test_an_old_archive_with_links_between_its_layers_is_read(engine: Engine, other: Engine, image: Image) -> None:
    """Docker before version 25 wrote ``<id>/layer.tar``, and a link where an image had the same layer twice."""
    files = contents(saved(engine, "saved:1"))
    (entry,) = json.loads(files["manifest.json"])
    members: list[tuple[str, bytes | str | dict[str, object]]] = [("config.json", files[entry["Config"]])]
    for number, name in enumerate(entry["Layers"]):
        members += [(f"real{number}/layer.tar", files[name]), (f"{number}/layer.tar", f"../real{number}/layer.tar")]
    listed = {"Config": "config.json", "RepoTags": None, "Layers": [f"{n}/layer.tar" for n in range(len(entry["Layers"]))]}
    members.append(("manifest.json", json.dumps([listed]).encode()))
    (loaded,) = other.images.load(tar(*members))
    assert (loaded.id, loaded.tags) == (image.id, ())


def test_import_makes_one_layer(engine: Engine) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add("/bin/true", "bin/true")
    buffer.seek(0)
    image = engine.images.import_image(buffer, "tiny", changes=['ENTRYPOINT ["/bin/true"]', "EXPOSE 80"])
    try:
        config = image.attrs["Config"]
        assert isinstance(config, dict)
        assert (image.tags, config["Entrypoint"], config["ExposedPorts"]) == (("tiny:latest",), ["/bin/true"], {"80/tcp": {}})
    finally:
        engine.images.remove(image.id, force=True)


def test_what_is_not_there_cannot_be_saved(engine: Engine) -> None:
    with pytest.raises(ImageNotFound):
        engine.images.save(["never"])

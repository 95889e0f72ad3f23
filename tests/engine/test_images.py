"""Images of the engine: built, named, looked at, shared on disk, removed and collected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.errors import BuildError, Conflict, DockerfileError, ImageNotFound, InvalidArgument, InvalidReference
from tests.home import BASE, Home

pytestmark = pytest.mark.root

BIG = 300_000


def on_disk(home: Home) -> tuple[int, int]:
    """Return how many files the layers have, and their bytes."""
    files = [Path(top) / name for top, _dirs, names in os.walk(home.root / "layers") for name in names]
    return len(files), sum(f.lstat().st_size for f in files)


def test_hello(own: Engine) -> None:
    text = f'FROM {BASE}\nENV GREETING=hello\nRUN echo "$GREETING from a layer" > /greeting\nCMD ["cat", "/greeting"]\n'
    image = own.images.build(text=text, tag="hello").image
    found = own.images.get("hello")
    assert found.tags == ("hello:latest",)
    assert own.containers.run("hello", network="none", remove=True) == b"hello from a layer\n"
    base = own.images.get(BASE)
    assert list(found.layers[:-1]) == list(base.layers)
    newest, *_rest = found.history()
    assert "cat" in newest.created_by
    assert newest.layer is None
    layered = [line for line in found.history() if line.layer]
    assert [line.layer for line in layered] == list(found.layers)[::-1]
    assert sum(line.size for line in layered) == found.size
    assert repr(image).startswith("<Image ")


def test_the_second_build_takes_every_step_from_the_cache(own: Engine) -> None:
    text = f"FROM {BASE}\nRUN echo 1 > /one\nRUN echo 2 > /two\n"
    first = own.images.build(text=text, tag="cached")
    second = own.images.build(text=text, tag="cached")
    assert first.image.id == second.image.id
    assert {s.status for s in second.steps if s.instruction.startswith("RUN")} == {"cached"}
    third = own.images.build(text=text, nocache=True)
    assert {s.status for s in third.steps if s.instruction.startswith("RUN")} == {"built"}


def test_tags_move_are_added_and_taken_away(own: Engine) -> None:
    first = own.images.build(text=f"FROM {BASE}\nLABEL n=1\n", tag="moving").image
    second = own.images.build(text=f"FROM {BASE}\nLABEL n=2\n", tag=["moving", "other:1"]).image
    first.reload()
    assert first.tags == ()
    assert set(second.tags) == {"moving:latest", "other:1"}
    assert [i.id for i in own.images.list("other")] == [second.id]
    assert own.images.list("nothing") == []
    own.images.tag("other:1", "third")
    assert own.images.get("third").id == second.id
    with pytest.raises(InvalidReference):
        own.images.tag("other:1", "No Name")
    assert own.images.remove("third") == [{"Untagged": "third:latest"}]
    with pytest.raises(ImageNotFound):
        own.images.find("third")


def test_an_image_is_found_by_tag_id_and_prefix(own: Engine) -> None:
    image = own.images.build(text=f"FROM {BASE}\nLABEL n=1\n", tag="findme:v1").image
    for word in ("findme:v1", image.id, image.short_id, image.short_id[:5]):
        assert own.images.find(word).id == image.id
    with pytest.raises(ImageNotFound, match="findme") as caught:
        own.images.find("findme:v2")
    assert caught.value.hint


def test_two_images_share_layers_on_disk(own: Engine, own_home: Home) -> None:
    common = f"FROM {BASE}\nRUN head -c {BIG} /dev/urandom > /big\n"
    own.images.build(text=common, tag="one")
    files, size = on_disk(own_home)
    own.images.build(text=common + "RUN echo 2 > /two\n", tag="two")
    own.images.tag("two", "three")
    more_files, more_size = on_disk(own_home)
    assert more_files - files < 5
    assert more_size - size < BIG / 2
    one, two = own.images.get("one"), own.images.get("two")
    assert list(two.layers[:-1]) == list(one.layers)
    sizes = own.images.sizes(own.images.list())
    unique, shared = sizes[two.id]
    assert unique + shared == two.size
    assert shared == one.size


def test_equal_layers_over_different_parents_are_one_on_disk(own: Engine, own_home: Home) -> None:
    (own_home.top / "ctx").mkdir()
    (own_home.top / "ctx/big").write_bytes(os.urandom(BIG))
    one = own.images.build(own_home.top / "ctx", text="FROM scratch\nCOPY big /big\n", tag="a").image
    _files, size = on_disk(own_home)
    two = own.images.build(own_home.top / "ctx", text="FROM scratch\nCOPY big /other\nCOPY big /big\n", tag="b").image
    _files, more = on_disk(own_home)
    assert one.layers[0] == two.layers[1]
    assert more - size < 1.5 * BIG


def test_removing_the_last_name_leaves_the_layers_to_the_build_cache_until_prune(own: Engine, own_home: Home) -> None:
    own.images.get(BASE)
    before = on_disk(own_home)
    own.images.build(text=f"FROM {BASE}\nRUN head -c {BIG} /dev/urandom > /big\n", tag=["one", "two"])
    assert on_disk(own_home)[1] - before[1] >= BIG
    with pytest.raises(Conflict, match="several repositories"):
        own.images.remove(own.images.get("one").id)
    own.images.remove("one")
    lines = own.images.remove("two")
    assert [next(iter(line)) for line in lines] == ["Untagged", "Deleted"]
    assert int(str(own.images.prune()["SpaceReclaimed"])) >= BIG
    assert on_disk(own_home) == before


def test_an_image_in_use_stays(own: Engine) -> None:
    own.images.build(text=f"FROM {BASE}\nLABEL n=1\n", tag="used")
    container = own.containers.create("used", ["true"], network="none", name="user")
    with pytest.raises(Conflict, match="used by container user") as caught:
        own.images.remove("used")
    assert "nbc rm user" in caught.value.hint
    assert own.images.remove("used", force=True) == [{"Untagged": "used:latest"}]
    container.start()
    assert container.wait()["StatusCode"] == 0
    assert container.id[:12] == own.containers.get("user").short_id


def test_prune_frees_what_no_name_and_no_container_needs(own: Engine, own_home: Home) -> None:
    own.images.get(BASE)
    before = on_disk(own_home)
    own.images.build(text=f"FROM {BASE}\nRUN head -c {BIG} /dev/urandom > /big\n", tag="dangling")
    own.images.build(text=f"FROM {BASE}\nLABEL n=2\n", tag="dangling")
    assert own.images.prune()["ImagesDeleted"]
    assert on_disk(own_home) == before
    result = own.images.prune(all=True)
    assert len(result["ImagesDeleted"]) == 2  # type: ignore[arg-type]
    assert on_disk(own_home) == (0, 0)
    assert own.images.list() == []


def test_build_keywords(own: Engine, own_home: Home) -> None:
    context = own_home.top / "context"
    context.mkdir()
    (context / "file").write_text("from the context\n")
    (context / "Other").write_text(
        f"ARG WHO=nobody\nFROM {BASE} AS first\nARG WHO\nRUN echo $WHO > /who\nCOPY file /file\nFROM {BASE} AS second\nRUN false\n"
    )
    result = own.images.build(context, dockerfile="Other", tag="kw", buildargs={"WHO": "me"}, target="first", labels={"l": "x"})
    assert result.image.labels["l"] == "x"
    assert own.containers.run("kw", ["cat", "/who", "/file"], network="none", remove=True) == b"me\nfrom the context\n"


def test_a_failing_step_names_its_line_and_tags_nothing(own: Engine) -> None:
    with pytest.raises(BuildError) as caught:
        own.images.build(text=f"FROM {BASE}\nRUN echo fine\nRUN echo broken >&2; exit 7\n", tag="never")
    assert (caught.value.line, caught.value.exit_status) == (3, 7)
    assert "broken" in caught.value.output
    with pytest.raises(ImageNotFound):
        own.images.find("never")
    assert own.containers.list(all=True) == []


@pytest.mark.parametrize(
    ("text", "error", "says", "line"),
    [
        (f"FROM {BASE}\nRUNN x\n", DockerfileError, "RUNN", 2),
        (f"FROM {BASE}\nCOPY missing /x\n", DockerfileError, "missing", 2),
        ("FROM no-such-image\n", ImageNotFound, "no-such-image", 0),
        ("FROM Bad:Name:x\n", InvalidArgument, "Bad:Name:x", 0),
        ("", DockerfileError, "", 0),
    ],
)
def test_bad_files_are_told_in_one_line(own: Engine, own_home: Home, text: str, error: type[Exception], says: str, line: int) -> None:
    (own_home.top / "empty").mkdir()
    with pytest.raises(error) as caught:
        own.images.build(own_home.top / "empty", text=text, tag="never")
    err = caught.value
    assert says in str(err)
    assert "\n" not in err.one_line()  # type: ignore[attr-defined]
    if isinstance(err, DockerfileError) and line:
        assert err.line == line
        assert "^" in err.excerpt()
    with pytest.raises(ImageNotFound):
        own.images.find("never")


def test_a_missing_context_or_file_is_named(own: Engine, own_home: Home) -> None:
    with pytest.raises(InvalidArgument, match="nowhere"):
        own.images.build(own_home.top / "nowhere", tag="x")
    with pytest.raises(InvalidArgument, match="Dockerfile") as caught:
        own.images.build(own_home.top, tag="x")
    assert "-f" in caught.value.hint
    (own_home.top / "Dockerfile").write_bytes(b"FROM \xff\n")
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        own.images.build(own_home.top, tag="x")
    with pytest.raises(InvalidArgument, match="'mesh'"):
        own.images.build(own_home.top, text="FROM scratch", network="mesh")


def test_the_base_is_made_when_first_named_and_is_the_same_each_time(own: Engine) -> None:
    first = own.images.get(BASE)
    again = own.images.get(f"{BASE}:latest")
    assert first.id == again.id
    with pytest.raises(ImageNotFound):
        own.images.get(f"{BASE}:other")


def test_inspect_of_an_image(own: Engine) -> None:
    image = own.images.build(text=f"FROM {BASE}\nEXPOSE 80\nUSER 5\nVOLUME /v\nSTOPSIGNAL SIGINT\nWORKDIR /w\n", tag="doc").image
    attrs = image.attrs
    config = attrs["Config"]
    assert isinstance(config, dict)
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("5", "/w", "SIGINT")
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert config["Volumes"] == {"/v": {}}
    assert attrs["RepoTags"] == ["doc:latest"]
    assert attrs["RootFS"] == {"Type": "layers", "Layers": list(image.layers)}

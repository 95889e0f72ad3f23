"""``--cache-to`` and ``--cache-from``: a build goes on in another store where the first one was done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.build.keys import CACHE_LABEL
from notebook_containers.build.progress import Event, Warned
from notebook_containers.engine.build_cache import CacheWord, parse
from notebook_containers.errors import InvalidArgument
from tests.home import BASE, new_home

FIRST = f"FROM {BASE} AS made\nRUN echo built > /artifact && date +%N > /moment\n"
TEXT = f"{FIRST}FROM {BASE}\nCOPY --from=made /artifact /\nRUN date +%N > /other\n"


@pytest.fixture
def other(no_leaks: None) -> Iterator[Engine]:
    """An engine with a store of its own."""
    with new_home() as home, home.open() as engine:
        yield engine


def statuses(engine: Engine, context: Path, *words: str, text: str = TEXT, to: str = "") -> list[str]:
    result = engine.images.build(context, text=text, tag="t", network="none", cache_from=words, cache_to=[to] if to else [])
    return [step.status for step in result.steps if step.status != "metadata"]


@pytest.mark.root
def test_a_directory_with_all_steps(own: Engine, other: Engine, tmp_path: Path) -> None:
    assert statuses(own, tmp_path, to="type=local,dest=cache,mode=max") == ["built", "built", "built"]
    assert statuses(other, tmp_path, "type=local,src=cache") == ["cached", "cached", "cached"]
    assert other.images.get("t").layers == own.images.get("t").layers
    assert [image.tags for image in own.images.list(all=True) if not image.tags] == []


@pytest.mark.root
def test_a_directory_with_the_images_own_steps(own: Engine, other: Engine, tmp_path: Path) -> None:
    statuses(own, tmp_path, to="type=local,dest=cache")
    assert statuses(other, tmp_path, "type=local,src=cache") == ["built", "cached", "cached"]


@pytest.mark.root
def test_inline_in_an_image_and_not_in_those_made_from_it(own: Engine, other: Engine, tmp_path: Path) -> None:
    statuses(own, tmp_path, to="type=inline")
    assert CACHE_LABEL in own.images.get("t").labels
    own.images.save_directory(["t"], tmp_path / "image")
    text = TEXT + "RUN echo more > /more\n"
    assert statuses(other, tmp_path, "type=local,src=image", text=text) == ["built", "cached", "cached", "built"]
    child = own.images.build(tmp_path, text="FROM t\nLABEL a=b\n", tag="child", network="none").image
    assert CACHE_LABEL not in child.labels
    assert child.labels["a"] == "b"


@pytest.mark.root
def test_a_cache_that_cannot_be_had_is_told_and_the_build_goes_on(own: Engine, tmp_path: Path) -> None:
    events: list[Event] = []
    (tmp_path / "none").mkdir()
    own.images.build(tmp_path, text=f"FROM {BASE}\n", tag="t", network="none", cache_from=["type=local,src=none"], progress=events.append)
    (warned,) = (e.message for e in events if isinstance(e, Warned))
    assert "the cache none is not used" in warned


@pytest.mark.root
def test_an_image_without_a_cache_is_none(own: Engine, tmp_path: Path) -> None:
    own.images.build(tmp_path, text=f"FROM {BASE}\n", tag="plain", network="none")
    own.images.save_directory(["plain"], tmp_path / "image")
    events: list[Event] = []
    text = f"FROM {BASE}\nLABEL a=b\n"
    own.images.build(tmp_path, text=text, tag="t", network="none", cache_from=["type=local,src=image"], progress=events.append)
    assert "holds no build cache" in "".join(e.message for e in events if isinstance(e, Warned))
    assert own.images.get("plain").tags == ("plain:latest",)


@pytest.mark.parametrize(
    ("word", "direction", "says"),
    [
        ("type=gha", "to", "kept by a service"),
        ("type=loca,src=x", "from", "use registry, local"),
        ("type=local", "from", "src=DIRECTORY"),
        ("type=registry,mode=max", "to", "ref=NAME"),
        ("type=local,dest=x,mode=most", "to", "use min or max"),
        ("type=local,src=x", "to", "has no 'src'"),
        ("", "from", "use registry"),
    ],
)
def test_wrong_words(word: str, direction: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(word, direction)
    assert says in caught.value.one_line()


def test_right_words() -> None:
    assert parse("registry.example/app:cache", "from") == CacheWord(type="registry", place="registry.example/app:cache")
    assert parse("type=registry,ref=a/b,mode=max", "to") == CacheWord(type="registry", place="a/b", all=True)
    assert parse("type=inline", "to") == parse("inline", "to") == CacheWord(type="inline")

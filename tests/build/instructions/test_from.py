"""FROM: images, stages, scratch, platforms; what stages are built, and what is refused."""

from __future__ import annotations

import pytest

from .conftest import Builds


def test_scratch_is_empty(builds: Builds) -> None:
    built = builds("FROM scratch\nCOPY a /\n", {"a": "x"})
    assert [set(layer) for layer in built.answer["layers"]] == [{"a"}]
    assert built.config["WorkingDir"] == "/"
    empty = builds("FROM scratch\nLABEL a=b\n")
    assert empty.answer["layers"] == []
    assert builds("FROM scratch\nLABEL a=b\n").id == empty.id


def test_stages_that_nothing_needs_are_not_built(builds: Builds) -> None:
    text = "FROM base AS never\nRUN exit 1\nFROM base AS First\nRUN echo first > /f\nFROM first\nRUN cat /f\n"
    assert builds(text).said == "first\n"
    assert builds(text, target="FIRST").said == ""
    assert builds(text, target="1").text("f") == "first\n"


def test_a_target_that_is_none(builds: Builds) -> None:
    assert builds.refused("FROM base AS builder\n", target="bilder").hint == "did you mean builder?"


def test_bld13_an_image_is_for_the_platform_that_was_asked_for(builds: Builds) -> None:
    assert builds("FROM --platform=$BUILDPLATFORM localhost/base\n").history == []
    refused = builds.refused("FROM --platform=linux/s390x localhost/base\n")
    assert "is not here for linux/s390x" in refused.message
    assert refused.hint.startswith("it is here for linux/")
    assert builds("FROM --platform=linux/s390x scratch\nCOPY a /\n", {"a": "x"}).files["a"]["text"] == "x"
    assert "plan9" in builds.refused("FROM --platform=plan9/arm scratch\n").message


def test_bld13_a_stage_wins_over_an_image_of_its_name(builds: Builds) -> None:
    builds("FROM base\nRUN echo image > /which\n", tag="shared")
    built = builds("FROM base AS shared\nRUN echo stage > /which\nFROM shared\nRUN cat /which\n")
    assert built.said == "stage\n"
    assert builds("FROM shared\nRUN cat /which\n").said == "image\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("RUN true\n", 1, "before the first FROM"),
        ("ARG X\nFROM $X\n", 2, "empty"),
        ("FROM BASE\n", 1, "lower case"),
        ("FROM\n", 1, "FROM"),
    ],
)
def test_refusals(builds: Builds, text: str, line: int, words: str) -> None:
    refused = builds.refused(text)
    assert words in refused.message
    assert refused.line == line

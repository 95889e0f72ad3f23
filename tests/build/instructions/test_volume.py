"""VOLUME: paths in both forms; the container gets a volume with what the image has there."""

from __future__ import annotations

from .conftest import Builds


def test_both_forms_and_the_bases_stay(builds: Builds) -> None:
    builds("FROM base\nVOLUME /kept\n", tag="parent")
    built = builds('FROM parent\nENV V=/v\nVOLUME $V /w\nVOLUME ["/x y"]\n')
    assert sorted(built.config["Volumes"]) == ["/kept", "/v", "/w", "/x y"]  # type: ignore[call-overload]


def test_the_container_gets_it_filled(builds: Builds) -> None:
    text = "FROM base\nRUN mkdir /v && echo image > /v/file\nVOLUME /v\n"
    assert builds(text, run=["sh", "-c", "cat /v/file; grep -c ' /v ' /proc/mounts"]).answer["printed"] == "image\n1\n"


def test_an_empty_path(builds: Builds) -> None:
    assert builds.refused("FROM base\nVOLUME $NONE\n").line == 2

"""WORKDIR: made where it is missing, relative to the one before, followed through the image's links."""

from __future__ import annotations

from .conftest import Builds


def test_it_is_made_and_relative_ones_add_up(builds: Builds) -> None:
    built = builds("FROM base\nENV D=deep\nWORKDIR /srv/app\nWORKDIR $D\nWORKDIR ../other\nRUN pwd\n")
    assert (built.said, built.config["WorkingDir"]) == ("/srv/app/other\n", "/srv/app/other")
    assert {name for name in built.files if name.startswith("srv/app")} == {"srv/app", "srv/app/deep", "srv/app/other"}
    assert {(built.files[name]["uid"], built.files[name]["mode"]) for name in ("srv/app", "srv/app/deep")} == {(0, 0o755)}


def test_one_that_is_there_makes_no_layer(builds: Builds) -> None:
    built = builds("FROM base\nWORKDIR /etc\nCOPY a .\n", {"a": "x"})
    assert [sorted(layer) for layer in built.layers] == [["etc", "etc/a"]]


def test_links_of_the_image_stay_inside_it(builds: Builds) -> None:
    built = builds("FROM base\nRUN mkdir /real && ln -s /real /link && ln -s ../../../../.. /up\nWORKDIR /link/a\nWORKDIR /up/b\n")
    assert "real/a" in built.files
    assert "b" in built.files


def test_a_relative_one_depends_on_the_base(builds: Builds) -> None:
    built = builds("FROM base\nWORKDIR app\n")
    assert built.config["WorkingDir"] == "/app"
    assert [(line, rule) for line, rule, _words in built.warnings] == [(2, "WorkdirRelativePath")]
    assert builds.refused("FROM base\nWORKDIR $NONE\n").line == 2

"""MAINTAINER: the author, with a warning that it is deprecated."""

from __future__ import annotations

from .conftest import Builds


def test_it_names_the_author(builds: Builds) -> None:
    built = builds("FROM base\nMAINTAINER A Person <a@example.org>\n")
    assert built.config["author"] == "A Person <a@example.org>"
    assert [(line, rule) for line, rule, _words in built.warnings] == [(2, "MaintainerDeprecated")]
    assert built.history == ["MAINTAINER A Person <a@example.org>"]


def test_the_last_one_counts_also_for_children(builds: Builds) -> None:
    builds("FROM base\nMAINTAINER one\nMAINTAINER two\n", tag="parent")
    assert builds("FROM parent\n").config["author"] == "two"
    assert builds.refused("FROM base\nMAINTAINER\n").line == 2

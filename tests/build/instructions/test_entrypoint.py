"""ENTRYPOINT: what always runs, in both forms; it forgets the base's CMD."""

from __future__ import annotations

from .conftest import Builds


def test_both_forms(builds: Builds) -> None:
    assert builds('FROM base\nENTRYPOINT ["echo", "a"]\n').config["Entrypoint"] == ["echo", "a"]
    assert builds("FROM base\nENTRYPOINT exec echo\n").config["Entrypoint"] == ["/bin/sh", "-c", "exec echo"]


def test_it_gets_the_command_as_arguments(builds: Builds) -> None:
    text = 'FROM base\nENTRYPOINT ["echo", "always"]\nCMD ["by default"]\n'
    assert builds(text, run=[]).answer["printed"] == "always by default\n"
    assert builds(text, run=["given"]).answer["printed"] == "always given\n"


def test_it_forgets_the_bases_command_only(builds: Builds) -> None:
    builds('FROM base\nCMD ["c"]\n', tag="parent")
    assert "Cmd" not in builds('FROM parent\nENTRYPOINT ["a"]\n').config
    assert builds('FROM parent\nCMD ["d"]\nENTRYPOINT ["a"]\n').config["Cmd"] == ["d"]

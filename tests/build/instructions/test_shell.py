"""SHELL: what runs the shell form of RUN, CMD and ENTRYPOINT from there on."""

from __future__ import annotations

from .conftest import Builds


def test_it_runs_what_follows(builds: Builds) -> None:
    built = builds('FROM base\nRUN false; echo on\nSHELL ["/bin/sh", "-uc"]\nCMD echo hi\n')
    assert built.said == "on\n"
    assert built.config["Cmd"] == built.config["Shell"] + ["echo hi"] == ["/bin/sh", "-uc", "echo hi"]  # type: ignore[operator]
    assert builds.refused('FROM base\nSHELL ["/bin/sh", "-ec"]\nRUN false; echo on\n').line == 3


def test_it_goes_on_in_children(builds: Builds) -> None:
    builds('FROM base\nSHELL ["/bin/sh", "-xc"]\n', tag="parent")
    assert builds("FROM parent\nENTRYPOINT echo\n").config["Entrypoint"] == ["/bin/sh", "-xc", "echo"]


def test_it_must_be_a_list(builds: Builds) -> None:
    assert builds.refused("FROM base\nSHELL /bin/sh -c\n").line == 2

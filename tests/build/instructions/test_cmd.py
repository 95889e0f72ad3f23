"""CMD: the command when nothing else is given, in both forms."""

from __future__ import annotations

from .conftest import Builds


def test_both_forms(builds: Builds) -> None:
    assert builds('FROM base\nCMD ["echo", "two words"]\n').config["Cmd"] == ["echo", "two words"]
    assert builds("FROM base\nCMD echo $HOME\n").config["Cmd"] == ["/bin/sh", "-c", "echo $HOME"]


def test_the_last_one_counts_and_runs(builds: Builds) -> None:
    assert builds('FROM base\nCMD ["false"]\nCMD ["echo", "hi"]\n', run=[]).answer["printed"] == "hi\n"


def test_an_empty_list_takes_the_bases_away(builds: Builds) -> None:
    builds('FROM base\nCMD ["echo"]\n', tag="parent")
    assert builds("FROM parent\n").config["Cmd"] == ["echo"]
    assert not builds("FROM parent\nCMD []\n").config.get("Cmd")


def test_what_is_no_list_is_for_the_shell(builds: Builds) -> None:
    assert builds("FROM base\nCMD ['echo']\n").config["Cmd"] == ["/bin/sh", "-c", "['echo']"]

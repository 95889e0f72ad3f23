"""ARG: before FROM and in stages, given and by default, those of the platform and of proxies; none stays in the config."""

from __future__ import annotations

import os

from .conftest import Builds

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def test_arguments_of_both_places(builds: Builds) -> None:
    text = "ARG V=outer\nFROM base\nARG V\nARG TARGETARCH\nARG D=${V}-d\nRUN echo $V $D $TARGETARCH $NOT_DECLARED.\n"
    built = builds(text, arguments={"UNUSED": "1"})
    assert built.said == f"outer outer-d {ARCHITECTURE} .\n"
    assert built.warnings == [[0, "", "no ARG UNUSED takes the build argument"]]
    assert not {"V", "D", "TARGETARCH"} & set(built.env)
    assert builds(text, arguments={"V": "given"}).said == f"given given-d {ARCHITECTURE} .\n"


def test_an_argument_chooses_the_image_and_must_not_be_empty(builds: Builds) -> None:
    assert builds("ARG IMAGE=none\nFROM $IMAGE\n", arguments={"IMAGE": "localhost/base"}).history == []
    refused = builds.refused("ARG IMAGE\nFROM $IMAGE\n")
    assert (refused.line, "empty" in refused.message) == (2, True)


def test_env_wins_over_an_argument(builds: Builds) -> None:
    assert builds("FROM base\nARG A=arg\nENV A=env\nRUN echo $A\n", arguments={"A": "given"}).said == "env\n"


def test_bld09_values_stay_in_history_and_names_of_secrets_are_warned_of(builds: Builds) -> None:
    built = builds("FROM base\nARG API_TOKEN=default\nRUN true $API_TOKEN\n", arguments={"API_TOKEN": "s3cret"})
    assert built.history[0] == "ARG API_TOKEN=s3cret"
    assert [(line, rule) for line, rule, _words in built.warnings] == [(2, "SecretsUsedInArgOrEnv")]


def test_bld09_proxies_are_neither_in_history_nor_in_the_key(builds: Builds) -> None:
    text = "FROM base\nRUN echo $HTTP_PROXY > /proxy\n"
    first = builds(text, arguments={"HTTP_PROXY": "http://user:secret@one"})
    assert first.text("proxy") == "http://user:secret@one\n"
    assert "secret" not in str(first.history)
    assert builds(text, arguments={"HTTP_PROXY": "http://two"}).id == first.id


def test_bld10_an_argument_that_a_step_uses_is_in_its_key(builds: Builds) -> None:
    text = "FROM base\nARG A\nRUN echo $A\nARG LATER\n"
    first = builds(text, arguments={"A": "1", "LATER": "1"})
    assert builds(text, arguments={"A": "1", "LATER": "2"}).answer["statuses"][2] == "cached"
    changed = builds(text, arguments={"A": "2", "LATER": "1"})
    assert (changed.answer["statuses"][2], changed.answer["reasons"][2]) == ("built", "ARG A changed")
    assert first.id != changed.id

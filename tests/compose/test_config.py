"""Golden folders: what ``compose config`` prints for each of ``config/<case>``; ``options.json`` says how the case is asked for.

A case's own directory is written ``<here>`` and the one above ``<above>``. The printed text, read again, must print the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import pytest
import yaml

from notebook_containers.compose import explaining, showing
from notebook_containers.compose.loading import Loaded, Request, load
from notebook_containers.compose.nodes import plain

CASES = Path(__file__).parent / "config"
NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir())


class Options(TypedDict, total=False):
    """What ``options.json`` may say."""

    files: list[str]
    env_files: list[str]
    profiles: list[str]
    environment: dict[str, str]
    filled: bool


def options(case: Path) -> Options:
    path = case / "options.json"
    found: Options = json.loads(path.read_text()) if path.exists() else {}
    return found


def loaded(case: Path) -> Loaded:
    given = options(case)
    return load(
        Request(
            cwd=case,
            files=given.get("files", ["compose.yaml"]),
            env_files=given.get("env_files", []),
            profiles=given.get("profiles", []),
            environment=given.get("environment", {}),
            filled=given.get("filled", True),
        )
    )


def printed(case: Path) -> str:
    found = loaded(case)
    filled = options(case).get("filled", True)
    shown = showing.shown(found, filled=filled)
    text = showing.yaml_text(showing.escaped(shown) if filled else shown)
    return text.replace(str(case), "<here>").replace(str(case.parent), "<above>")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_is_what_was_reviewed(name: str) -> None:
    assert printed(CASES / name) == (CASES / name / "expected.yaml").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_yaml_and_json_say_the_same(name: str) -> None:
    shown = showing.shown(loaded(CASES / name), filled=options(CASES / name).get("filled", True))
    as_json = json.loads(showing.json_text(shown))
    for service in as_json["services"].values():
        for key in ("command", "entrypoint"):
            if service[key] is None:
                del service[key]
    assert yaml.safe_load(showing.yaml_text(shown)) == as_json == plain(shown)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "raw"])
def test_what_is_printed_means_the_same_when_it_is_read_again(name: str, tmp_path: Path) -> None:
    found = loaded(CASES / name)
    text = showing.yaml_text(showing.escaped(showing.shown(found)))
    (tmp_path / "again.yaml").write_text(text)
    again = load(
        Request(
            cwd=tmp_path,
            files=["again.yaml"],
            directory=CASES / name,
            profiles=["*"],
            environment=options(CASES / name).get("environment", {}),
        )
    )
    assert showing.yaml_text(showing.shown(again)) == showing.yaml_text(showing.shown(found))


@pytest.mark.parametrize("name", NAMES)
def test_every_value_has_an_origin(name: str) -> None:
    shown = showing.shown(loaded(CASES / name), filled=options(CASES / name).get("filled", True))
    assert yaml.safe_load(explaining.text(shown)) == plain(shown)
    for row in explaining.rows(shown):
        assert row["reason"] or row["line"], row

"""``nbc compose config`` on the command line: what its options choose, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TEXT = """
services:
  web: {image: "nginx:${TAG:-1}", depends_on: [db], ports: ["${PORT?}:80"], volumes: [data:/data]}
  db: {image: pg, networks: [back], profiles: []}
  tool: {build: ., profiles: [dev], command: "$$x"}
volumes: {data: , unused: }
networks: {back: }
"""


class Config:
    """Runs ``nbc compose config``."""

    def __init__(self, place: Path, environment: dict[str, str]) -> None:
        self.place, self._environment = place, environment

    def run(self, *words: str, group: tuple[str, ...] = (), stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "notebook_containers", "compose", *group, "config", *words]
        environment = {**self._environment, "PORT": "8080"}
        return subprocess.run(command, cwd=self.place, env=environment, input=stdin, capture_output=True, text=True, check=False)

    def ok(self, *words: str, group: tuple[str, ...] = ()) -> str:
        done = self.run(*words, group=group)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def config(tmp_path: Path, tree_environment: dict[str, str]) -> Config:
    place = tmp_path / "shop"
    place.mkdir()
    (place / "compose.yaml").write_text(TEXT)
    return Config(place, tree_environment)


def test_kinds_of_names(config: Config) -> None:
    assert config.ok("--services") == "db\nweb\n"
    assert config.ok("--services", group=("--profile", "dev")) == "db\nweb\ntool\n"
    assert config.ok("--images", group=("--profile", "*")) == "pg\nnginx:1\nshop-tool\n"
    assert config.ok("--volumes") == "data\n"
    assert config.ok("--volumes", "--all-resources") == "data\nunused\n"
    assert sorted(config.ok("--networks").split()) == ["back", "default"]
    assert config.ok("--profiles") == "dev\n"
    assert "PORT=8080\n" in config.ok("--environment")
    rows = [line.split() for line in config.ok("--variables").splitlines()]
    assert rows[1:] == [["PORT", "true"], ["TAG", "false", "1"]]


def test_the_whole_project(config: Config) -> None:
    shown = yaml.safe_load(config.ok())
    assert (shown["name"], list(shown["services"])) == ("shop", ["db", "web"])
    assert json.loads(config.ok("--format", "json"))["services"]["web"]["image"] == "nginx:1"
    assert list(yaml.safe_load(config.ok("db"))["services"]) == ["db"]
    assert list(yaml.safe_load(config.ok("web"))["services"]) == ["db", "web"]
    assert yaml.safe_load(config.ok("--no-interpolate"))["services"]["web"]["image"] == "nginx:${TAG:-1}"
    assert yaml.safe_load(config.ok("--no-path-resolution", group=("--profile", "dev")))["services"]["tool"]["build"]["context"] == "."
    assert config.ok("-o", "out.yaml") == ""
    assert yaml.safe_load((config.place / "out.yaml").read_text()) == shown
    assert config.ok("-q") == ""


def test_what_is_not_worked_in_stays_as_it_is_written(config: Config) -> None:
    (config.place / "vars").write_text("FROM_FILE=1\n")
    (config.place / "compose.yaml").write_text(
        "services:\n  web: {image: a, links: [db], env_file: vars, environment: {PORT: , OWN: x}}\n  db: {image: b}\nvolumes: {data: }\n"
    )
    web = yaml.safe_load(config.ok("--no-env-resolution"))["services"]["web"]
    assert web["env_file"] == [{"path": str(config.place / "vars")}]
    assert (web["environment"], list(web["depends_on"])) == ({"OWN": "x", "PORT": None}, ["db"])
    assert yaml.safe_load(config.ok())["services"]["web"]["environment"] == {"FROM_FILE": "1", "OWN": "x", "PORT": "8080"}
    written = yaml.safe_load(config.ok("--no-normalize"))
    assert (written["name"], "networks" in written) == ("shop", False)
    assert written["services"]["web"] == {"image": "a", "links": ["db"], "environment": {"FROM_FILE": "1", "OWN": "x", "PORT": "8080"}}
    assert written["services"]["db"] == {"image": "b"}
    assert yaml.safe_load(config.ok("--no-normalize", "--all-resources"))["volumes"] == {"data": {}}
    (config.place / "vars").unlink()
    assert config.run().returncode == 1
    assert config.run("--no-env-resolution", "-q").returncode == 0


def test_each_value_says_where_it_comes_from(config: Config) -> None:
    (config.place / ".env").write_text("# versions\nTAG=2\n")
    lines = {line.partition("#")[0].strip(): line.partition("#")[2].strip() for line in config.ok("--explain").splitlines()}
    assert lines["image: nginx:2"] == "compose.yaml:3, TAG from .env:2"
    assert lines['published: "8080"'] == "compose.yaml:3, PORT from environment"
    assert lines["protocol: tcp"] == "default"
    assert lines["name: shop"] == "default: the project's directory"
    rows = {row["path"]: row for row in json.loads(config.ok("--explain", "--format", "json"))}
    image = rows["services.web.image"]
    assert (image["value"], image["file"], image["line"], image["column"]) == ("nginx:2", "compose.yaml", 3, 16)
    assert image["variables"] == [{"name": "TAG", "value": "2", "source": ".env:2"}]
    assert rows["services.web.ports[0].mode"]["reason"] == "default"


def test_hashes_are_of_what_makes_a_container(config: Config) -> None:
    before = dict(line.split() for line in config.ok("--hash", "*").splitlines())
    (config.place / "compose.yaml").write_text(TEXT.replace("image: pg,", "image: pg:2,"))
    after = dict(line.split() for line in config.ok("--hash", "db,web").splitlines())
    assert before["web"] == after["web"]
    assert before["db"] != after["db"]


def test_a_file_from_standard_input_and_several(config: Config) -> None:
    done = config.run(group=("-f", "-"), stdin="services: {a: {image: x}}\n")
    assert yaml.safe_load(done.stdout)["services"]["a"]["image"] == "x"
    (config.place / "over.yaml").write_text("services: {web: {image: other}}\n")
    assert "image: other" in config.ok(group=("-f", "compose.yaml", "-f", "over.yaml"))


def test_a_mistake_ends_with_one_line_and_its_place(config: Config) -> None:
    (config.place / "compose.yaml").write_text("services:\n  web:\n    imagee: x\n")
    done = config.run("-q")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "compose.yaml:3:5: services.web.imagee: unknown key; did you mean 'image'?" in done.stderr
    assert "^" in done.stderr


def test_what_is_ignored_is_told_once(config: Config) -> None:
    text = 'version: "3"\nservices: {web: {image: x, deploy: {placement: {constraints: [a]}}}}\n'
    (config.place / "compose.yaml").write_text(text)
    done = config.run("-q")
    assert done.returncode == 0
    assert done.stderr.count("services.web.deploy.placement is ignored: only a swarm") == 1
    assert done.stderr.count("version is ignored") == 1

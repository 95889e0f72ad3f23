"""Two services on the real engine: up, names, ps, restart of what changed, down; volumes stay."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.compose.opening import open_project
from notebook_containers.compose.progress import Told
from notebook_containers.compose.project import ComposeProject
from notebook_containers.errors import ComposeError, ImageNotFound, InvalidArgument
from tests.home import BASE, Home, clear

pytestmark = [pytest.mark.root, pytest.mark.netns]

SERVE = "mkdir -p /www; echo hello from db > /www/index.html; exec busybox httpd -f -p 80 -h /www"
ASK = "for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://db/ && break; sleep 0.2; done; sleep 1000"
TEXT = f"""
services:
  web:
    image: {BASE}
    command: [sh, -c, "{ASK}"]
    depends_on: [db]
    environment: {{WHO: "${{WHO:-nobody}}"}}
    stop_grace_period: 0s
  db:
    image: {BASE}
    command: [sh, -c, "{SERVE}"]
    volumes: [data:/data]
    ports: ["80"]
    stop_grace_period: 0s
volumes:
  data:
"""


@pytest.fixture
def engine(home: Home, no_leaks: None) -> Iterator[Engine]:
    with home.open() as made:
        yield made
        clear(made)
    assert home.remains() == {}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "shop"
    place.mkdir()
    (place / "compose.yaml").write_text(TEXT)
    return place


def opened(engine: Engine, directory: Path, **variables: str) -> ComposeProject:
    return open_project(engine, directory=directory, variables=variables)


def test_services_reach_each_other_by_name_and_down_keeps_the_volume(engine: Engine, directory: Path) -> None:
    said: list[Told] = []
    started = opened(engine, directory).up(told=said.append)
    assert [c.name for c in started] == ["shop-db-1", "shop-web-1"]
    assert [event.name for event in said if event.phase == "started"] == ["shop-db-1", "shop-web-1"]
    web, db = engine.containers.get("shop-web-1"), engine.containers.get("shop-db-1")
    deadline = time.monotonic() + 10
    while web.logs(stderr=False) != b"hello from db\n":
        assert time.monotonic() < deadline, web.logs()
        time.sleep(0.1)
    assert web.exec_run(["sh", "-c", "echo $WHO"]).output == b"nobody\n"
    assert [p.container_port for p in db.ports] == [80]
    db.exec_run(["sh", "-c", "echo kept > /data/x"])
    opened(engine, directory).down(told=said.append)
    assert engine.containers.list(all=True) == []
    assert [v.name for v in engine.volumes.list()] == ["shop_data"]
    opened(engine, directory).up(["db"])
    assert [c.name for c in engine.containers.list()] == ["shop-db-1"]
    assert engine.containers.get("shop-db-1").exec_run("cat /data/x").output == b"kept\n"
    opened(engine, directory).down(volumes=True)
    assert engine.volumes.list() == []


def test_rel32_up_again_changes_only_what_changed(engine: Engine, directory: Path) -> None:
    project = opened(engine, directory)
    before = {c.name: c.id for c in project.up()}
    said: list[Told] = []
    again = {c.name: c.id for c in opened(engine, directory).up(told=said.append)}
    assert again == before
    assert {event.phase for event in said} == {"running"}
    changed = {c.name: c.id for c in opened(engine, directory, WHO="me").up()}
    assert changed["shop-db-1"] == before["shop-db-1"]
    assert changed["shop-web-1"] != before["shop-web-1"]
    assert len(engine.containers.list(all=True)) == 2


def test_stop_start_restart(engine: Engine, directory: Path) -> None:
    project = opened(engine, directory)
    project.up()
    said: list[Told] = []
    project.stop(told=said.append)
    assert [event.name for event in said if event.phase == "stopped"] == ["shop-web-1", "shop-db-1"]
    assert {c.status for c in project.containers()} == {"exited"}
    project.start()
    project.restart(["web"])
    assert {c.status for c in project.containers()} == {"running"}
    with pytest.raises(InvalidArgument, match="no such service: nobody") as caught:
        project.stop(["nobody"])
    assert "db" in caught.value.hint


def test_a_service_is_built(engine: Engine, directory: Path) -> None:
    (directory / "Dockerfile").write_text(f'FROM {BASE}\nARG A\nRUN echo $A > /a\nCMD ["cat", "/a"]\n')
    (directory / "compose.yaml").write_text("services:\n  job:\n    build: {context: ., args: {A: built}}\n    network_mode: none\n")
    project = opened(engine, directory)
    (container,) = project.up()
    container.wait()
    assert container.logs() == b"built\n"
    assert project.build() == ["shop-job"]
    project.down()
    engine.images.remove("shop-job")


def test_a_service_without_an_image_is_named_and_nothing_is_left(engine: Engine, directory: Path) -> None:
    (directory / "compose.yaml").write_text("services:\n  web: {image: no-such-image}\n")
    with pytest.raises(ImageNotFound, match="no-such-image"):
        opened(engine, directory).up()
    assert engine.containers.list(all=True) == []
    assert [network.name for network in engine.networks.list() if network.labels] == []


def test_files_and_variables_are_found(engine: Engine, directory: Path, tmp_path: Path) -> None:
    (directory / ".env").write_text("# comment\nexport WHO='from file'\n")
    environment = {s.name: s.environment for s in opened(engine, directory).project.services}
    assert environment["web"] == {"WHO": "from file"}
    environment = {s.name: s.environment for s in opened(engine, directory, WHO="mine").project.services}
    assert environment["web"] == {"WHO": "mine"}
    with pytest.raises(InvalidArgument, match="no compose file") as caught:
        open_project(engine, directory=tmp_path)
    assert "compose.yaml" in caught.value.hint
    with pytest.raises(InvalidArgument, match=r"missing\.yaml"):
        open_project(engine, file=tmp_path / "missing.yaml")
    (tmp_path / "bad.yaml").write_text("services:\n  web:\n    imagee: x\n")
    with pytest.raises(ComposeError, match=r"bad\.yaml:3:5"):
        open_project(engine, file=tmp_path / "bad.yaml")


def test_what_somebody_else_made_is_left_alone(engine: Engine, directory: Path) -> None:
    other = engine.containers.create(BASE, ["true"], network="none", name="other")
    opened(engine, directory).down()
    assert [c.id for c in engine.containers.list(all=True)] == [other.id]

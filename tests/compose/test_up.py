"""What ``up`` does with what is there: scale, changes, orphans, volumes, names; and that ``down`` takes its own and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.compose.progress import Told
from notebook_containers.engine.container import Container
from notebook_containers.errors import Conflict, InvalidArgument, StartFailed
from tests.compose.projects import Opener, service, text, wait_for
from tests.home import BASE

pytestmark = [pytest.mark.root, pytest.mark.netns]


def names(engine: Engine) -> list[str]:
    return sorted(container.name for container in engine.containers.list(all=True))


def test_scale_up_and_down_by_numbers(engine: Engine, opener: Opener) -> None:
    project = opener(text(service("web"), service("db")))
    project.up(scale={"web": 3})
    assert names(engine) == ["shop-db-1", "shop-web-1", "shop-web-2", "shop-web-3"]
    first = {container.name: container.id for container in project.containers("web")}
    engine.containers.get("shop-web-2").remove(force=True)
    project.scale({"web": 4})
    assert names(engine) == ["shop-db-1", "shop-web-1", "shop-web-2", "shop-web-3", "shop-web-4"]
    project.scale({"web": 1})
    assert {container.name: container.id for container in project.containers("web")} == {"shop-web-1": first["shop-web-1"]}
    project.up()
    assert names(engine) == ["shop-db-1", "shop-web-1"]
    with pytest.raises(InvalidArgument, match="no such service: nobody"):
        project.scale({"nobody": 2})
    project.down()
    assert names(engine) == []


def test_replicas_answer_to_the_service_name_in_turn(engine: Engine, opener: Opener) -> None:
    serve = "hostname > /index.html; exec busybox httpd -f -p 80 -h /"
    project = opener(text(service("web", serve), service("ask")))
    project.up(scale={"web": 2})
    ask = project.container("ask")
    hosts = {container.short_id for container in project.containers("web")}
    seen: set[str] = set()

    def asked() -> bool:
        seen.add(ask.exec_run(["wget", "-qO-", "http://web/"]).output.decode().strip())
        return hosts <= seen

    wait_for(asked, f"both replicas answer: {hosts}")
    assert seen - {""} == hosts
    project.down()


def test_a_link_is_a_name_for_the_service_that_has_it_alone(engine: Engine, opener: Opener) -> None:
    say = "hostname > /index.html; exec busybox httpd -f -p 80 -h /"
    linking = service(
        "php", "exec sleep 1000", "links: ['mysql:database', 'mysql']", "external_links: ['theirs:elsewhere']", "networks: [net]"
    )
    below = "networks:\n  net: {name: shop_net}\n"
    file = text(linking, service("web", "exec sleep 1000", "networks: [net]"), service("mysql", say, "networks: [net]"), below=below)
    project = opener(file)
    project.up()
    theirs = engine.containers.create(BASE, ["sh", "-c", say], name="theirs", network="shop_net")
    theirs.start()
    php, web = project.container("php"), project.container("web")

    def asks(name: str, who: Container) -> str:
        return who.exec_run(["wget", "-qO-", f"http://{name}/"], stderr=False).output.decode().strip()

    wait_for(lambda: asks("database", php) == project.container("mysql").short_id)
    wait_for(lambda: asks("elsewhere", php) == theirs.short_id)
    assert [asks(name, web) for name in ("database", "elsewhere")] == ["", ""]
    assert asks("mysql", web) == asks("mysql", php) == project.container("mysql").short_id
    assert '"Links": ["mysql:database", "theirs:elsewhere"]' in json.dumps(php.attrs)
    opener(file.replace("hostname >", "echo new; hostname >")).up(["mysql"])
    wait_for(lambda: asks("database", php) == project.container("mysql").short_id, "a link leads to the container that there is now")
    theirs.remove(force=True)
    project.down()


def test_a_recreated_container_keeps_name_number_and_anonymous_volume(engine: Engine, opener: Opener) -> None:
    project = opener(text(service("db", "exec sleep 1000", "volumes: [/data, 'named:/named']"), below="volumes:\n  named:\n"))
    (before,) = project.up()
    before.exec_run(["sh", "-c", "echo kept > /data/x; echo kept > /named/x"])
    changed = opener(text(service("db", "exec sleep 1001", "volumes: [/data, 'named:/named']"), below="volumes:\n  named:\n"))
    said: list[Told] = []
    (after,) = changed.up(told=said.append)
    assert (after.name, after.id != before.id) == ("shop-db-1", True)
    assert [event.phase for event in said if event.name == "shop-db-1"] == ["recreating", "recreated", "starting", "started"]
    assert after.exec_run(["cat", "/data/x", "/named/x"]).output == b"kept\nkept\n"
    (renewed,) = changed.up(force_recreate=True, renew_anon_volumes=True)
    assert renewed.exec_run(["cat", "/data/x"]).exit_code == 1
    assert renewed.exec_run(["cat", "/named/x"]).output == b"kept\n"
    assert len(engine.volumes.list()) == 2
    changed.down(volumes=True)
    assert list(engine.volumes.list()) == []


def test_force_and_no_recreate(engine: Engine, opener: Opener) -> None:
    project = opener(text(service("web", "exec sleep 1000", "depends_on: [db]"), service("db")))
    before = {container.name: container.id for container in project.up()}
    changed = opener(text(service("web", "exec sleep 1001", "depends_on: [db]"), service("db")))
    assert {container.name: container.id for container in changed.up(no_recreate=True)} == before
    forced = {container.name: container.id for container in changed.up(["web"], force_recreate=True)}
    assert forced["shop-web-1"] != before["shop-web-1"]
    assert forced["shop-db-1"] == before["shop-db-1"]
    project.down()


def test_orphans_are_named_and_removed_when_asked(engine: Engine, opener: Opener) -> None:
    opener(text(service("web"), service("old"))).up()
    project = opener(text(service("web")))
    said: list[Told] = []
    project.up(told=said.append)
    assert [event.text for event in said if event.phase == "warning" and "shop-old-1" in event.text]
    assert "shop-old-1" in names(engine)
    project.up(remove_orphans=True)
    assert names(engine) == ["shop-web-1"]
    opener(text(service("web"), service("old"))).up()
    project.down(remove_orphans=True)
    assert names(engine) == []


def test_down_takes_what_the_project_made_and_nothing_else(engine: Engine, opener: Opener) -> None:
    labels = "\n".join(["LABEL com.docker.compose.project=shop", "LABEL com.docker.compose.service=web"])
    engine.images.build(text=f"FROM {BASE}\n{labels}\n", tag="labelled")
    stranger = engine.containers.create("labelled", ["true"], network="none", name="stranger")
    theirs = engine.volumes.create("shop_theirs")
    below = "volumes:\n  mine:\n  theirs:\nnetworks:\n  default:\n"
    project = opener(text(service("web", "exec sleep 1000", "volumes: ['mine:/mine', 'theirs:/theirs']"), below=below))
    said: list[Told] = []
    project.up(told=said.append)
    assert [event.name for event in said if event.phase == "warning" and event.kind == "volume"] == [theirs.name]
    assert [network.name for network in engine.networks.list() if network.name.startswith("shop")] == ["shop_default"]
    other = opener(text(service("web")), name="other")
    other.up()
    project.down(volumes=True)
    assert names(engine) == ["other-web-1", "stranger"]
    assert [volume.name for volume in engine.volumes.list()] == ["shop_theirs"]
    assert [network.name for network in engine.networks.list() if network.labels] == ["other_default"]
    project.down(volumes=True)  # again, and nothing happens
    other.down()
    stranger.remove()
    engine.images.remove("labelled")


def test_a_network_that_somebody_else_is_in_stays(engine: Engine, opener: Opener) -> None:
    project = opener(text(service("web")))
    project.up()
    guest = engine.containers.run(BASE, ["sleep", "1000"], network="shop_default", detach=True, name="guest")
    said: list[Told] = []
    project.down(told=said.append)
    assert [event.text[:8] for event in said if event.kind == "network" and event.phase == "warning"] == ["it stays"]
    assert names(engine) == ["guest"]
    guest.remove(force=True)  # type: ignore[union-attr]
    project.down()
    assert not [network for network in engine.networks.list() if network.name == "shop_default"]


def test_a_container_name_cannot_be_scaled_and_a_taken_one_is_said(engine: Engine, opener: Opener) -> None:
    project = opener(text(service("web", "exec sleep 1000", "container_name: only")))
    with pytest.raises(InvalidArgument, match="only one container can have"):
        project.up(scale={"web": 2})
    engine.containers.create(BASE, ["true"], network="none", name="only")
    with pytest.raises(Conflict, match="only"):
        project.up()
    engine.containers.get("only").remove()
    (container,) = project.up()
    assert container.name == "only"
    project.down()


def test_create_then_start_then_rm(engine: Engine, opener: Opener) -> None:
    project = opener(text(service("web")))
    (made,) = project.up(start=False)
    assert made.status == "created"
    (started,) = project.start()
    assert (started.id, started.status) == (made.id, "running")
    assert project.rm() == []
    project.pause()
    assert project.container("web").status == "paused"
    project.unpause()
    project.kill()
    assert project.container("web").status == "exited"
    assert project.wait() == {"shop-web-1": 137}
    assert project.rm() == ["shop-web-1"]
    assert names(engine) == []
    project.down()


def test_a_one_off_container_is_no_replica(engine: Engine, opener: Opener) -> None:
    project = opener(
        text(service("web", "exec sleep 1000", "depends_on: [db]", "ports: ['80']", "environment: {A: file, B: file}"), service("db"))
    )
    once = project.run("web", ["sh", "-c", "echo $A $B $(hostname)"], detach=True)
    once.wait()
    assert once.logs().split()[:2] == [b"file", b"file"]
    assert once.name.startswith("shop-web-run-")
    assert not once.document.options.ports
    assert [container.name for container in project.containers()] == ["shop-db-1"]
    project.up()
    assert "shop-web-1" in names(engine)
    project.down()
    assert names(engine) == []


def test_the_timeline_says_what_took_time_until_down(engine: Engine, opener: Opener) -> None:
    project = opener(text(service("web", "exec sleep 1000", "depends_on: [db]"), service("db")))
    assert project.timeline() == ()
    project.up()
    spans = {(span.service, span.doing) for span in project.timeline()}
    assert {("db", "creating"), ("db", "starting"), ("web", "creating"), ("web", "starting")} <= spans
    before = project.timeline()
    project.up()
    assert project.timeline() == before
    project.down()
    assert project.timeline() == ()


@pytest.mark.parametrize("target", ["/data/grants/word", "/data/file"])
def test_cp07_a_secret_is_not_written_through_a_link(opener: Opener, tmp_path: Path, target: str) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "shop/data"
    outside.mkdir()
    inside.mkdir()
    (tmp_path / "shop/word").write_text("hidden")
    (inside / "grants").symlink_to(outside)
    (inside / "file").symlink_to(outside / "made")
    grant = f"secrets: [{{source: word, target: {target}, mode: 0400}}]"
    web = service("web", "exec sleep 1000", "volumes: ['./data:/data']", grant)
    project = opener(text(web, below="secrets:\n  word: {file: ./word}\n"))
    with pytest.raises(StartFailed, match=f"cannot mount {target}"):
        project.up()
    assert list(outside.iterdir()) == []
    assert {path.name for path in inside.iterdir()} == {"grants", "file"}
    project.down()

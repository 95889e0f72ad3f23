"""``develop.watch`` on real files and containers: every action, what is left alone, and what a rebuild leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.compose.model import Build, Watch
from notebook_containers.compose.progress import Told
from notebook_containers.compose.project import ComposeProject
from notebook_containers.compose.watched import Tree
from notebook_containers.engine.container import Container
from notebook_containers.errors import InvalidArgument
from tests.compose.projects import LONG_S, Opener, service, text, wait_for
from tests.home import BASE


@contextmanager
def watched(project: ComposeProject, *, prune: bool = True) -> Iterator[list[Told]]:
    """Watch in the block, from when every rule is followed; yields what is told."""
    stopped, said = threading.Event(), list[Told]()
    thread = threading.Thread(target=project.watch, kwargs={"stopped": stopped, "told": said.append, "prune": prune})
    thread.start()
    rules = sum(len(one.watch) for one in project.project.services)
    try:
        wait_for(lambda: len([event for event in said if event.phase == "watching"]) == rules, "every rule is followed")
        yield said
    finally:
        stopped.set()
        thread.join(LONG_S)
    assert not thread.is_alive()


def inside(container: Container, path: str) -> bytes:
    return container.exec_run(["cat", path], stderr=False).output


def put(path: Path, content: str) -> None:
    """Give a file its content in one step, so that no look comes between."""
    new = path.with_name(f"{path.name}~")  # what no rule is about
    new.write_text(content)
    new.replace(path)


def phases(said: Sequence[Told], kind: str = "service") -> list[str]:
    return [event.phase for event in said if event.kind == kind]


@pytest.mark.root
@pytest.mark.netns
def test_watched_files_go_into_the_container(engine: Engine, opener: Opener, tmp_path: Path) -> None:
    source = tmp_path / "shop/src"
    source.mkdir()
    (source / "page").write_text("one\n")
    sync = "{path: ./src, action: sync, target: /www, ignore: ['*.tmp'], initial_sync: true}"
    rules = f"develop: {{watch: [{sync}, {{path: ./conf, action: sync+restart, target: /conf}}]}}"
    (tmp_path / "shop/conf").write_text("a\n")
    project = opener(text(service("web", "exec sleep 1000", "network_mode: none", rules)))
    (web,) = project.up()
    with watched(project):
        wait_for(lambda: inside(web, "/www/page") == b"one\n")
        (source / "new").mkdir()
        (source / "new/file").write_text("two\n")
        (source / "left.tmp").write_text("never\n")
        wait_for(lambda: inside(web, "/www/new/file") == b"two\n")
        (source / "page").unlink()
        wait_for(lambda: inside(web, "/www/page") == b"")
        assert inside(web, "/www/left.tmp") == b""
        began = web.state.started_at
        put(tmp_path / "shop/conf", "b\n")

        def restarted() -> bool:
            web.reload()
            return web.status == "running" and web.state.started_at != began

        wait_for(restarted)
        assert inside(web, "/conf") == b"b\n"
    with pytest.raises(InvalidArgument, match="nothing is watched of other"):
        opener(text(service("other"))).watch()
    project.down()


@pytest.mark.root
@pytest.mark.netns
@pytest.mark.parametrize("prune", [True, False])
def test_a_rebuild_changes_the_container_and_what_it_leaves(engine: Engine, opener: Opener, tmp_path: Path, *, prune: bool) -> None:
    shop = tmp_path / "shop"
    (shop / "Dockerfile").write_text(f"FROM {BASE}\nCOPY page /page\n")
    (shop / ".dockerignore").write_text("notes\n")
    (shop / "page").write_text("one\n")
    rules = "develop: {watch: [{path: ., action: rebuild}]}"
    built = service("web", "exec sleep 1000", "network_mode: none", "build: .", rules).replace(f"    image: {BASE}\n", "")
    project = opener(text(built, service("other", "exec sleep 1000", "network_mode: none")))
    other, before = project.up()
    first = engine.images.find("shop-web").id
    with watched(project, prune=prune) as said:
        (shop / "notes").write_text("no part of the image\n")
        put(shop / "Dockerfile", "NOTHING\n")
        wait_for(lambda: "error" in phases(said), "a build that fails is told")
        assert project.container("web").id == before.id
        put(shop / "page", "two\n")
        put(shop / "Dockerfile", f"FROM {BASE}\nCOPY page /page\nLABEL mended=yes\n")
        wait_for(lambda: "started" in phases(said, "container"), "the container is made anew")
        wait_for(lambda: not prune or "removed" in phases(said, "image"), "the old image goes")
    after = project.container("web")
    assert inside(after, "/page") == b"two\n"
    assert (after.id != before.id, project.container("other").id) == (True, other.id)
    assert not [event for event in said if event.phase == "rebuilding" and "notes" in event.text]
    assert [image.id for image in engine.images.list() if image.id == first] == ([] if prune else [first])
    project.down(rmi="local")
    engine.images.prune()


@pytest.mark.root
@pytest.mark.netns
def test_synced_files_are_worked_on_by_a_command_inside(engine: Engine, opener: Opener, tmp_path: Path) -> None:
    source = tmp_path / "shop/src"
    (source / "part").mkdir(parents=True)
    (source / "part/page").write_text("one\n")
    command = "[sh, -c, 'cat /tmp/www/part/page >> /seen && test ! -e /fail']"
    run = f"exec: {{command: {command}, user: '7', environment: {{A: b}}}}"
    rules = f"develop: {{watch: [{{path: ./src, action: sync+exec, target: /tmp/www, {run}}}]}}"
    script = "touch /seen; chown 7 /seen; exec sleep 1000"
    project = opener(text(service("web", script, "network_mode: none", rules)))
    project.up(scale={"web": 2})
    both = project.containers("web")
    wait_for(lambda: all(one.exec_run(["test", "-e", "/seen"]).exit_code == 0 for one in both))
    with watched(project) as said:
        put(source / "part/page", "two\n")
        wait_for(lambda: phases(said).count("executed") == 2, "it runs in both")
        assert [inside(one, "/seen") for one in both] == [b"two\n", b"two\n"]
        assert both[0].exec_run(["stat", "-c", "%a", "/tmp"]).output == b"1777\n"
        both[1].exec_run(["touch", "/fail"])
        put(source / "part/page", "three\n")
        wait_for(lambda: "error" in phases(said), "a command that fails is told")
        assert inside(both[0], "/seen") == b"two\nthree\n"
        (source / "part/page").unlink()
        (source / "part").rmdir()
        (source / "empty").mkdir()
        wait_for(lambda: both[0].exec_run(["ls", "/tmp/www"]).output == b"empty\n", "directories come and go too")
    project.down()


def test_what_the_build_is_not_sent_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("*\n!src\nsrc/*.log\n")
    (tmp_path / "src/deep").mkdir(parents=True)
    for name in ("top", "src/a.log", "src/a.py", "src/deep/b.py", "src/b.pyc"):
        (tmp_path / name).write_text(name)
    build = Build(context=str(tmp_path), dockerfile="Dockerfile")
    assert set(Tree(Watch(path=str(tmp_path / "src"), action="sync", ignore=("*.pyc",)), build).look()) == {"a.py", "deep", "deep/b.py"}
    assert set(Tree(Watch(path=str(tmp_path / "src"), action="sync", include=("*.log",))).look()) == {"a.log"}
    (tmp_path / ".dockerignore").write_text("*\n!src/deep/b.py\n")
    assert set(Tree(Watch(path=str(tmp_path), action="rebuild"), build).look()) == {"src/deep/b.py"}
    (tmp_path / "Dockerfile.dockerignore").write_text("src/deep\n")
    assert set(Tree(Watch(path=str(tmp_path), action="rebuild"), build).look()) >= {"top", "src/a.log", "src/b.pyc"}
    assert "src/deep/b.py" not in Tree(Watch(path=str(tmp_path), action="rebuild"), build).look()

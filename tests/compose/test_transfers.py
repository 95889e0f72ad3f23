"""Images of projects to and from a real registry: push, pull, the policies, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import yaml

from notebook_containers import Engine
from notebook_containers.compose.progress import Told
from notebook_containers.errors import ImageNotFound, RegistryError
from tests.compose.line import Line
from tests.compose.projects import Opener, service, text
from tests.home import BASE
from tests.registry.conftest import no_credentials, serve_registry

__all__ = ["no_credentials", "serve_registry"]

pytestmark = [pytest.mark.root, pytest.mark.netns]


@pytest.fixture
def registry(serve_registry: Callable[..., str], engine: Engine) -> Iterator[str]:
    """A registry that has ``db:1``, which the engine has not."""
    found = serve_registry()
    engine.images.get(BASE).tag(f"{found}/db", tag="1")
    engine.images.push(f"{found}/db:1")
    engine.images.remove(f"{found}/db:1")
    yield found
    for image in engine.images.list():
        for name in image.tags:
            if name.startswith(found):
                engine.images.remove(name)
    engine.images.prune()


def shop(registry: str, version: str = "1") -> str:
    build = f"build: {{dockerfile_inline: \"FROM {BASE}\\nLABEL version={version}\", tags: ['{registry}/web:also']}}"
    web = service("web", "exec sleep 1000", build, "network_mode: none", "depends_on: [db]").replace(BASE, f"{registry}/web:1", 1)
    db, twin = (service(name, "exec sleep 1000", "network_mode: none").replace(BASE, f"{registry}/db:1") for name in ("db", "twin"))
    local = service("local", "exec sleep 1000", f"build: {{dockerfile_inline: FROM {BASE}}}").replace(f"    image: {BASE}\n", "")
    return text(web, db, twin, local)


def seen(said: list[Told]) -> list[tuple[str, str]]:
    return sorted((event.name.rpartition("/")[2], event.phase) for event in said if event.kind == "image")


def test_what_is_built_is_pushed_and_comes_back(registry: str, engine: Engine, opener: Opener) -> None:
    project = opener(shop(registry))
    with pytest.raises(ImageNotFound, match="web:1"):
        project.push(["web"])
    assert project.push(["web"], ignore_failures=True) == {}
    project.build(["web"])
    said: list[Told] = []
    digests = project.push(told=said.append)
    assert [*digests] == [f"{registry}/web:1", f"{registry}/web:also"]
    assert len({*digests.values()}) == 1
    assert seen(said) == [("web:1", "pushed"), ("web:1", "pushing"), ("web:also", "pushed"), ("web:also", "pushing")]
    built = engine.images.find(f"{registry}/web:1").id
    for name in digests:
        engine.images.remove(name)
    said.clear()
    assert project.pull(told=said.append) == [f"{registry}/db:1", f"{registry}/web:1"]
    assert seen(said) == [("db:1", "pulled"), ("db:1", "pulling"), ("shop-local", "skipped"), ("web:1", "pulled"), ("web:1", "pulling")]
    assert engine.images.find(f"{registry}/web:1").id == built
    said.clear()
    assert project.pull(["web"], policy="missing", include_deps=True, told=said.append) == []
    assert seen(said) == [("db:1", "skipped"), ("web:1", "skipped")]
    assert project.pull(ignore_buildable=True) == [f"{registry}/db:1"]


def test_up_fetches_what_is_missing_or_always_and_can_do_it_quietly(registry: str, engine: Engine, opener: Opener) -> None:
    other = opener(shop(registry, "2"))
    other.build(["web"])
    other.push(["web"])
    new = engine.images.find(f"{registry}/web:1").id
    project = opener(shop(registry))
    project.build(["web"])
    said: list[Told] = []
    project.up(["web"], told=said.append)
    assert seen(said) == [("db:1", "pulled"), ("db:1", "pulling")]
    assert project.container("web").document.image_id != new
    said.clear()
    project.up(["web"], pull="always", quiet_pull=True, told=said.append)
    assert seen(said) == []
    assert project.container("web").document.image_id == new
    with pytest.raises(ImageNotFound, match="no such image"):
        opener(shop(registry).replace("db:1", "gone:1")).up(["twin"])
    project.down()


def test_what_cannot_be_fetched_is_told_after_the_rest_came(registry: str, engine: Engine, opener: Opener) -> None:
    gone = service("gone", "true").replace(BASE, f"{registry}/gone:1")
    project = opener(shop(registry) + gone)
    said: list[Told] = []
    with pytest.raises(RegistryError, match="gone"):
        project.pull(["gone", "db"], told=said.append)
    assert seen(said) == [("db:1", "pulled"), ("db:1", "pulling"), ("gone:1", "error"), ("gone:1", "pulling")]
    assert project.pull(["gone", "db"], ignore_failures=True) == [f"{registry}/db:1", f"{registry}/gone:1"]
    with pytest.raises(RegistryError) as failed:
        project.pull(["web"])
    assert failed.value.hint == "check the name and the tag; or build it: nbc compose build web"


def test_names_are_pinned_to_what_the_registry_has(registry: str, line: Line, engine: Engine) -> None:
    named = f"{registry}/db:1"
    digest = engine.images.registry_digest(named)
    (line.place / "compose.yaml").write_text(
        text(service("db").replace(BASE, named), service("kept").replace(BASE, f"{registry}/db@{digest}"))
    )
    services = yaml.safe_load(line.ok("config", "--resolve-image-digests"))["services"]
    assert {name: one["image"] for name, one in services.items()} == {"db": f"{named}@{digest}", "kept": f"{registry}/db@{digest}"}
    assert services["db"]["command"]
    lock = line.ok("config", "--lock-image-digests", "db")
    assert yaml.safe_load(lock) == {"services": {"db": {"image": f"{named}@{digest}"}}}
    (line.place / "lock.yaml").write_text(lock)
    line.ok("-f", "compose.yaml", "-f", "lock.yaml", "pull", "-q", "db")
    (line.place / "compose.yaml").write_text(text(service("db").replace(BASE, f"{registry}/gone")))
    refused = line.run("config", "--resolve-image-digests")
    assert (refused.returncode, "compose.yaml:3:12: services.db.image" in refused.stderr) == (1, True)


def test_the_verbs_of_the_command_line(registry: str, line: Line, engine: Engine) -> None:
    (line.place / "compose.yaml").write_text(shop(registry))
    said = line.run("pull", "db")
    assert (said.returncode, said.stderr) == (0, f"Image {registry}/db:1 Pulling\nImage {registry}/db:1 Pulled\n")
    engine.images.remove(f"{registry}/db:1")
    refused = line.run("pull", "web")
    assert refused.returncode == 1
    assert "nbc compose build web" in refused.stderr
    quiet = line.run("up", "-d", "--quiet-pull", "db")
    assert (quiet.returncode, "Pull" in quiet.stderr) == (0, False)
    line.ok("build", "-q", "web")
    assert f"{registry}/web:also: digest: sha256:" in line.ok("push", "-q")
    line.ok("down")

"""Compose files from elsewhere, when they are allowed: a real git server and a real registry on loopback; nothing leads out of them."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notebook_containers.compose.loading import Loaded, Request, load
from notebook_containers.compose.remote import LAYER, Remotes, check_inside
from notebook_containers.errors import ComposeError, Error, InvalidArgument
from tests.build.repositories import commit, served
from tests.needs import need
from tests.registry.conftest import serve_registry

__all__ = ["serve_registry"]
FILES = {
    "compose.yaml": "services: {web: {image: one, build: ., env_file: own.env, volumes: ['./data:/data']}}\n",
    "own.env": "FROM=the repository\n",
    "deep/compose.yaml": "services: {deep: {image: deep, build: ..}}\n",
    "deep/other.yml": "services: {other: {image: other}}\n",
}


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    need(Path("/usr/bin/git").exists(), "git")
    commit(tmp_path / "served/project.git", FILES)
    with served(tmp_path / "served") as found:
        yield f"{found}/project.git/.git"


def loaded(tmp_path: Path, text: str = "", *, files: tuple[str, ...] = ()) -> Loaded:
    here = tmp_path / "here"
    here.mkdir(exist_ok=True)
    if text:
        (here / "compose.yaml").write_text(text)
    return load(Request(cwd=here, files=files, remotes=Remotes(tmp_path / "root"), environment={}))


def test_a_repository_is_included(address: str, tmp_path: Path) -> None:
    found = loaded(tmp_path, f"include: ['{address}', '{address}#main:deep/other.yml']\nservices: {{mine: {{image: x}}}}\n")
    web = found.project.service("web")
    assert sorted(one.name for one in found.project.services) == ["mine", "other", "web"]
    assert web.environment == {"FROM": "the repository"}
    assert web.build is not None
    fetched = Path(web.build.context)
    assert fetched.parent == tmp_path / "root/compose"
    assert web.volumes[0].source == f"{fetched}/data"
    assert [path.name for path in fetched.parent.iterdir()] == [fetched.name], "one commit is fetched once"


def test_a_repository_is_a_projects_file_and_a_service_is_extended(address: str, tmp_path: Path) -> None:
    assert [one.name for one in loaded(tmp_path, files=(f"{address}#main:deep",)).project.services] == ["deep"]
    text = f"services: {{a: {{extends: {{file: '{address}', service: web}}, image: mine}}}}\n"
    service = loaded(tmp_path, text).project.service("a")
    assert (service.image, service.environment) == ("mine", {"FROM": "the repository"})


LEADING_OUT = [
    "env_file: ../../secret.env",
    "env_file: /etc/passwd",
    "label_file: ../x",
    "build: ..",
    "build: {context: ., dockerfile: ../x}",
    "build: {context: ., additional_contexts: {a: /etc}}",
    "volumes: ['/:/host']",
    "volumes: ['~/.ssh:/keys']",
    "volumes: [{type: bind, source: ../.., target: /x}]",
    "develop: {watch: [{path: /etc, action: rebuild}]}",
    "extends: {file: ../../here/compose.yaml, service: mine}",
]


def test_a_file_from_elsewhere_names_nothing_outside(address: str, tmp_path: Path) -> None:
    files = {f"{index}.yaml": f"services: {{web: {{image: x, {body}}}}}\n" for index, body in enumerate(LEADING_OUT)}
    files["secret.yaml"] = "services: {web: {image: x, secrets: [s]}}\nsecrets: {s: {file: ../s}}\n"
    files["include.yaml"] = "include: [../../here/compose.yaml]\nservices: {web: {image: x}}\n"
    commit(tmp_path / "served/project.git", files)
    for name in files:
        with pytest.raises(ComposeError, match="leads out of what was fetched") as caught:
            loaded(tmp_path, f"include: ['{address}#main:{name}']\nservices: {{mine: {{image: x}}}}\n")
        assert caught.value.line, name


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "../../etc", "deep/../..", "deep/link/../x", "./../x"])
def test_a_link_that_may_lead_out(target: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(InvalidArgument, match="a link that leads out of it: link"):
        check_inside(tmp_path)


@pytest.mark.parametrize("target", ["own.env", "./deep/", "deep/link", "nowhere", "."])
def test_a_link_that_stays_inside(target: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/link").symlink_to("../own.env")
    (tmp_path / "link").symlink_to(target)
    check_inside(tmp_path)


def test_a_tree_with_a_link_that_leads_out_is_refused_whole(address: str, tmp_path: Path) -> None:
    commit(tmp_path / "served/project.git", {"deep/link": "-> ../../x"})
    with pytest.raises(Error, match="a link that leads out of it: deep/link"):
        loaded(tmp_path, files=(address,))
    assert list((tmp_path / "root/compose").iterdir()) == []


def publish(registry: str, name: str, texts: list[str], annotation: str = "compose.yaml") -> None:
    """Put a compose project into a registry as docker does, its files as layers."""

    def blob(data: bytes, kind: str, **annotations: str) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with urllib.request.urlopen(
            urllib.request.Request(f"http://{registry}/v2/{name}/blobs/uploads/", method="POST", data=b"")
        ) as answer:
            place = answer.headers["Location"]
        headers = {"Content-Type": "application/octet-stream"}
        urllib.request.urlopen(urllib.request.Request(f"{place}&digest={digest}", method="PUT", data=data, headers=headers)).close()
        return {"mediaType": kind, "digest": digest, "size": len(data), "annotations": annotations}

    layers = [blob(text.encode(), LAYER, **{"com.docker.compose.file": annotation}) for text in texts]
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.docker.compose.project",
        "config": blob(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": layers,
    }
    headers = {"Content-Type": str(document["mediaType"])}
    data = json.dumps(document).encode()
    urllib.request.urlopen(
        urllib.request.Request(f"http://{registry}/v2/{name}/manifests/1", method="PUT", data=data, headers=headers)
    ).close()


def test_cve_2025_62725_an_artifacts_names_choose_nothing(serve_registry: Callable[..., str], tmp_path: Path) -> None:
    registry = serve_registry()
    publish(registry, "app", ["services: {web: {image: one}}\n", "services: {web: {image: two}}\n"], "../../../../escaped.yaml")
    found = loaded(tmp_path, files=(f"oci://{registry}/app:1",))
    assert found.project.service("web").image == "two"
    assert {path.name for path in Path(found.project.directory).iterdir()} == {"compose-0.yaml", "compose-1.yaml"}
    assert not list(tmp_path.rglob("escaped.yaml"))
    assert loaded(tmp_path, f"include: ['oci://{registry}/app:1']\n").project.service("web").image == "two"
    publish(registry, "evil", ["services: {web: {image: x, env_file: ../../secret}}\n"])
    with pytest.raises(ComposeError, match="leads out"):
        loaded(tmp_path, files=(f"oci://{registry}/evil:1",))
    with pytest.raises(Error, match="none"):
        loaded(tmp_path, files=(f"oci://{registry}/none:1",))


@pytest.mark.parametrize(
    "word", ["https://example.org/compose.yaml", "ftp://x/y", "git@example.org:x/y.git#a..b", "https://u:p@x.org/y.git"]
)
def test_an_address_of_nothing_that_can_be_a_project_is_refused(word: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        loaded(tmp_path, files=(word,))

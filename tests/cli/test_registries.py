"""``nbc pull, push, login, logout, search, manifest``: what a person types, reads, and is told of bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Nbc
from tests.home import BASE
from tests.needs import need
from tests.registry.conftest import CONFIG, PROGRAM, free_port, wait_for

pytestmark = pytest.mark.root

PASSWORD = "s3cret-of-the-test"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serve(tmp_path_factory.mktemp("registry"), "")


@pytest.fixture
def private(tmp_path: Path) -> Iterator[str]:
    words = ["htpasswd", "-Bbn", "me", PASSWORD]
    need(shutil.which(words[0]), words[0])
    (tmp_path / "htpasswd").write_text(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    yield from serve(tmp_path, f"auth: {{htpasswd: {{realm: test, path: {tmp_path / 'htpasswd'}}}}}")


def serve(folder: Path, auth: str) -> Iterator[str]:
    need(PROGRAM.exists(), "docker-registry")
    port = free_port()
    (folder / "config.yml").write_text(CONFIG.format(folder=folder / "data", port=port, auth=auth, tls=""))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([PROGRAM, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def image(nbc: Nbc, registry: str) -> Iterator[str]:
    """The base image under a name of the registry; all names of the registry are gone afterwards."""
    name = f"{registry}/cli/base:1"
    nbc.ok("tag", BASE, name)
    yield name
    for line in nbc.ok("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines():
        if line.startswith(registry):
            nbc("rmi", line)


def test_push_pull_and_what_is_said(nbc: Nbc, image: str) -> None:
    said = nbc.ok("push", image)
    digest = said.removeprefix(f"{image}: digest: ")
    assert digest.startswith("sha256:")
    assert nbc.ok("push", "-q", image) == image
    nbc.ok("rmi", image)
    digest_line, status, last = nbc.ok("pull", image).splitlines()
    assert (digest_line, status) == (f"Digest: {digest}", f"Status: Image is up to date for {image}")
    assert last.startswith(f"{image}: sha256:")
    assert nbc.ok("pull", "-q", f"{image.rpartition(':')[0]}@{digest}").endswith(f"@{digest}")
    assert nbc.ok("run", "--rm", image, "echo", "from the registry") == "from the registry"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir", "docker-dir"])
def test_what_was_here_when_a_registry_offered_it_can_be_saved(nbc: Nbc, image: str, form: str, tmp_path: Path) -> None:
    """The registry has the layer compressed, the store the same layer plain: both are the image."""
    nbc.ok("push", image)
    nbc.ok("pull", image)
    nbc.ok("save", "--format", form, "-o", "saved", image)
    assert nbc("system", "check").status == 0
    identity = json.loads(nbc.ok("inspect", image))[0]["Id"]
    two = {"NBC_ROOT": str(tmp_path / "two"), "NBC_RUN": str(tmp_path / "run")}
    loaded = nbc("load", "-i", "saved", env=two)
    assert loaded.status == 0, loaded
    assert identity in nbc("images", "-q", "--no-trunc", env=two).out


def test_all_tags(nbc: Nbc, image: str) -> None:
    repository = image.rpartition(":")[0]
    nbc.ok("tag", image, f"{repository}:2")
    assert sorted(line.split(": ")[0] for line in nbc.ok("push", "-a", repository).splitlines()) == [image, f"{repository}:2"]
    nbc.ok("rmi", f"{repository}:2")
    assert f"{repository}:2" in nbc.ok("pull", "-a", "-q", repository).splitlines()
    assert "names one image" in nbc("pull", "-a", image).line
    assert "no image has a tag" in nbc("push", "-a", f"{repository}/none").line


def test_a_platform_that_is_not_there(nbc: Nbc, image: str) -> None:
    nbc.ok("push", image)
    done = nbc("pull", "--platform", "linux/s390x", image)
    assert done.status == 1
    assert done.line == f"nbc: image {image} does not exist for linux/s390x; it exists for linux/amd64"
    assert "is no platform" in nbc("pull", "--platform", "a/b/c/d", image).line


def test_two_platforms_under_one_name(nbc: Nbc, image: str, registry: str, tmp_path: Path) -> None:
    repository = image.rpartition(":")[0]
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    nbc.ok("import", "--platform", "linux/s390x", str(tmp_path / "x.tar"), f"{repository}:s390x")
    for name in (image, f"{repository}:s390x"):
        nbc.ok("push", name)
    both = f"{repository}:both"
    nbc.ok("manifest", "create", both, image, f"{repository}:s390x")
    digest = nbc.ok("manifest", "push", both)
    assert both not in nbc.ok("images")
    nbc.ok("pull", "-q", both)
    nbc.ok("pull", "-q", "--platform", "linux/s390x", both)
    head, *lines = nbc.ok("images", repository).splitlines()
    assert head.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "PLATFORM", "SIZE"]
    assert sorted(line.split()[1] for line in lines if " both " in line) == ["both", "both"]
    assert {word for line in lines if " both " in line for word in line.split() if "/" in word} >= {"linux/amd64", "linux/s390x"}
    assert nbc.ok("push", both).endswith(digest), "the list is pushed as it came"
    assert nbc.ok("run", "--rm", both, "echo", "this machine's") == "this machine's"
    done = nbc("run", "--rm", "--pull", "never", "--platform", "linux/arm64", both, "true")
    hint = f"it is here for linux/amd64, linux/s390x; get the other with 'nbc pull --platform linux/arm64 {both}'"
    assert done.line == f"nbc: image {both} is not here for linux/arm64; {hint}"
    nbc.ok("save", "-o", str(tmp_path / "both.tar"), both)
    nbc.ok("rmi", both)
    assert nbc("rmi", both).status == 1, "it is gone for all platforms"
    assert nbc.ok("load", "-q", "-i", str(tmp_path / "both.tar")).count(both) == 2
    nbc.ok("rmi", both, f"{repository}:s390x")


def test_login_from_standard_input_and_logout(nbc: Nbc, private: str, tmp_path: Path) -> None:
    nbc.ok("tag", BASE, f"{private}/a:1")
    env = {"HOME": str(tmp_path)}
    try:
        refused = nbc("push", f"{private}/a:1", env=env)
        assert refused.line == f"nbc: registry {private} asks for a login; log in with 'nbc login {private}'"
        wrong = nbc("login", "-u", "me", "--password-stdin", private, stdin="wrong\n", env=env)
        assert wrong.line == f"nbc: registry {private} refuses the login; check user name and password"
        good = nbc("login", "-u", "me", "--password-stdin", private, stdin=f"{PASSWORD}\n", env=env)
        assert (good.status, good.out) == (0, "Login Succeeded\n")
        assert "stored unencrypted" in good.line
        nbc.ok("push", f"{private}/a:1", env=env)
        assert nbc.ok("logout", private, env=env) == f"Removed the login for {private}"
        assert nbc.ok("logout", private, env=env) == f"Not logged in to {private}"
        assert PASSWORD not in (tmp_path / ".docker" / "config.json").read_text()
    finally:
        nbc.ok("rmi", f"{private}/a:1")


def test_a_login_that_nobody_can_be_asked_for(nbc: Nbc, private: str, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    assert "--password-stdin" in nbc("login", private, stdin="", env=env).err
    assert "needs --username" in nbc("login", "--password-stdin", private, stdin="x", env=env).line
    assert "contradict" in nbc("login", "-u", "me", "-p", "x", "--password-stdin", private, stdin="x", env=env).line
    told = nbc("login", "-u", "me", "-p", PASSWORD, private, env=env)
    assert told.status == 0
    assert "seen by others" in told.err
    assert "is no registry" in nbc("login", "-u", "me", "-p", "x", "no/registry here", env=env).err


def test_search_and_manifest_lists(nbc: Nbc, image: str, registry: str) -> None:
    nbc.ok("push", image)
    table = nbc.ok("search", f"{registry}/base").splitlines()
    assert table[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert table[1].split()[0] == f"{registry}/cli/base"
    assert nbc.ok("search", "--filter", "stars=1", "--format", "{{.Name}}", f"{registry}/base") == ""
    assert "is not understood" in nbc("search", "--filter", "colour=red", f"{registry}/base").line
    name = f"{registry}/cli/all:1"
    assert nbc.ok("manifest", "create", name, image) == f"Created manifest list {name}"
    assert "there is a manifest list" in nbc("manifest", "create", name, image).line
    nbc.ok("manifest", "annotate", "--arch", "amd64", "--variant", "v2", name, image)
    (document,) = json.loads(nbc.ok("manifest", "inspect", name))
    assert document["manifests"][0]["platform"] == {"architecture": "amd64", "os": "linux", "variant": "v2"}
    assert nbc.ok("manifest", "push", "--purge", name).startswith("sha256:")
    assert "no manifest list" in nbc("manifest", "rm", name).line
    (document,) = json.loads(nbc.ok("manifest", "inspect", image))
    assert "layers" in document


def test_a_registry_that_is_down_and_a_name_that_is_none(nbc: Nbc) -> None:
    down = nbc("pull", "127.0.0.1:1/a")
    assert down.line.startswith("nbc: cannot reach registry 127.0.0.1:1: connection refused; ")
    assert "is not an image name" in nbc("pull", "Upper").line
    assert nbc("pull").status == 125


@pytest.mark.parametrize("verb", ["pull", "push", "login", "logout", "search", "manifest", "manifest create", "manifest annotate"])
def test_help(plain_nbc: Nbc, verb: str) -> None:
    text = plain_nbc.ok(*verb.split(), "--help")
    assert text.startswith(f"Usage: nbc {verb}")
    assert len(text.splitlines()) > 4

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from notebook_containers.engine.registries import registry_name
from notebook_containers.errors import RegistryError
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.addresses import is_loopback, is_private, origin, same_site
from notebook_containers.registry.auth import parse_challenge
from notebook_containers.registry.credentials import Credentials, find_credentials
from notebook_containers.registry.transport import Transport


@pytest.mark.parametrize(
    ("header", "scheme", "parameters"),
    [
        ('Bearer realm="https://a/t",service="s", scope="x:y,z"', "bearer", {"realm": "https://a/t", "service": "s", "scope": "x:y,z"}),
        ("Basic realm=plain", "basic", {"realm": "plain"}),
        ('BEARER Realm="a\\"b"', "bearer", {"realm": 'a"b'}),
        ("Basic", "basic", {}),
    ],
)
def test_challenges_are_read(header: str, scheme: str, parameters: dict[str, str]) -> None:
    challenge = parse_challenge(header)
    assert (challenge.scheme, dict(challenge.parameters)) == (scheme, parameters)


@pytest.mark.parametrize(
    "header", ["", '"x"', 'Bearer realm="open', "Bearer realm", "Bearer a=b\r\nX: y", "Bearer " + 'a="b",' * 3000, "Bearer =x"]
)
def test_reg05_strange_challenges_are_refused(header: str) -> None:
    with pytest.raises(RegistryError, match="not understood"):
        parse_challenge(header)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ghcr.io", "ghcr.io", True),
        ("auth.docker.io", "registry-1.docker.io", True),
        ("gitlab.com", "registry.gitlab.com", True),
        ("evil.com", "registry.gitlab.com", False),
        ("evilgitlab.com", "registry.gitlab.com", False),
        ("evil.co.uk", "registry.co.uk", False),
        ("auth.shop.co.uk", "registry.shop.co.uk", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("10.9.0.1", "10.8.0.1", False),
        ("com", "registry.com", False),
    ],
)
def test_which_hosts_belong_together(one: str, other: str, same: bool) -> None:
    assert same_site(one, other) is same
    assert same_site(other, one) is same


def test_which_hosts_are_this_machine() -> None:
    for host in ("localhost", "localhost:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:5000", "x.localhost"):
        assert is_loopback(host), host
    for host in ("localhost.example", "10.0.0.1", "128.0.0.1", "example.org:5000", ""):
        assert not is_loopback(host), host
    assert is_private("169.254.169.254")
    assert is_private("::1")
    assert not is_private("1.1.1.1")
    assert origin("https://A.example/x") == ("https", "a.example", 443)


def test_docker_hub_is_where_docker_finds_it() -> None:
    assert Transport("docker.io").base == "https://registry-1.docker.io"
    for text, repository in (("debian", "library/debian"), ("me/app:1", "me/app"), ("index.docker.io/x", "library/x")):
        reference = Reference.parse(text)
        assert (reference.registry, reference.repository) == ("docker.io", repository)
    assert registry_name("") == registry_name("https://index.docker.io/v1/") == "docker.io"
    assert registry_name("https://reg.example:5000/") == "reg.example:5000"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def test_credentials_are_found_where_tools_leave_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_credentials("reg.example") is None
    hub = {"https://index.docker.io/v1/": {"auth": encoded("hub:pw")}}
    write(tmp_path / "home/.docker/config.json", {"auths": {"reg.example": {"auth": encoded("me:a:b")}, **hub}})
    assert find_credentials("reg.example") == Credentials(username="me", password="a:b")
    assert find_credentials("docker.io") == Credentials(username="hub", password="pw")
    assert find_credentials("other.example") is None
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "chosen"))
    assert find_credentials("reg.example") is None
    write(tmp_path / "chosen/config.json", {"auths": {"reg.example": {"username": "u", "password": "", "identitytoken": "tok"}}})
    assert find_credentials("reg.example") == Credentials(username="u", identity_token="tok")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    write(tmp_path / "run/containers/auth.json", {"auths": {"pod.example": {"auth": encoded("podman:pw")}}})
    assert find_credentials("pod.example") == Credentials(username="podman", password="pw")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    write(tmp_path / "auth.json", {"auths": {"reg.example": {"auth": encoded("named:pw")}}})
    assert find_credentials("reg.example") == Credentials(username="named", password="pw")


def test_a_secret_is_not_shown() -> None:
    text = repr(Credentials(username="me", password="hunter2", identity_token="tok"))
    assert "hunter2" not in text
    assert "tok" not in text.replace("identity_token", "")


@pytest.mark.parametrize("text", ["{", "[]", '{"auths":{"a":1,"a":2}}'])
def test_a_broken_config_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "home/.docker/config.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(RegistryError, match=str(path)):
        find_credentials("reg.example")


def helper(folder: Path, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_credential_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("SECRET_OF_THE_KERNEL", "x")
    write(tmp_path / "home/.docker/config.json", {"credHelpers": {"reg.example": "test"}})
    helper(tmp_path / "bin", 'read s; env > "$HOME/env"; echo "{\\"Username\\":\\"me\\",\\"Secret\\":\\"for $s $1\\"}"')
    assert find_credentials("reg.example") == Credentials(username="me", password="for reg.example get")
    assert "SECRET_OF_THE_KERNEL" not in (tmp_path / "home/env").read_text()
    helper(tmp_path / "bin", 'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"tok\\"}"')
    assert find_credentials("reg.example") == Credentials(username="", identity_token="tok")
    for script in ("exit 1", "echo nonsense", "head -c 100000 /dev/zero"):
        helper(tmp_path / "bin", script)
        assert find_credentials("reg.example") is None


@pytest.mark.parametrize("name", ["../../bin/evil", "a;b", "missing", "-x", "A"])
def test_reg12_a_strange_helper_is_not_run(tmp_path: Path, name: str) -> None:
    write(tmp_path / "home/.docker/config.json", {"credHelpers": {"reg.example": name}})
    with pytest.raises(RegistryError, match="credential helper"):
        find_credentials("reg.example")

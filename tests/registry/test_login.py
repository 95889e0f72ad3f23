"""Logins: where they are kept, who keeps them, and what a program that keeps them may not do (REG-12)."""

from __future__ import annotations

import base64
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.errors import InvalidArgument, RegistryError
from notebook_containers.registry.credentials import Credentials, find_credentials
from notebook_containers.registry.keeper import Keeper
from notebook_containers.registry.login import login, logout
from tests.registry.scripted import Answer, Request, Scripted

Serve = Callable[..., Scripted]


def asks(server: Scripted, password: str = "right") -> str:
    wanted = "Basic " + base64.b64encode(f"me:{password}".encode()).decode()

    def answer(request: Request) -> Answer:
        refused = Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return Answer() if request.headers.get("Authorization") == wanted else refused

    server.say("/v2/", answer)
    return server.host


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "home" / ".docker" / "config.json"
    path.parent.mkdir(parents=True)
    return path


def test_a_login_is_kept_as_docker_keeps_it(scripted: Serve, config: Path) -> None:
    host = asks(scripted())
    config.write_text(json.dumps({"auths": {"other.example": {"auth": "eDp5"}}, "psFormat": "kept"}))
    config.chmod(0o644)
    (warning,) = login(host, "me", "right").warnings
    assert str(config) in warning
    kept = json.loads(config.read_text())
    assert kept["auths"][host] == {"auth": base64.b64encode(b"me:right").decode()}
    assert kept["auths"]["other.example"] == {"auth": "eDp5"}
    assert kept["psFormat"] == "kept"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert os.listdir(config.parent) == ["config.json"]
    assert find_credentials(host) == Credentials(username="me", password="right")
    assert logout(host)
    assert not logout(host)
    assert find_credentials(host) is None
    assert json.loads(config.read_text())["auths"] == {"other.example": {"auth": "eDp5"}}


def test_docker_hub_has_docker_hubs_key(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from notebook_containers.registry import login as module

    monkeypatch.setattr(module, "_try", lambda _client: True)
    login("docker.io", "me", "pw")
    assert list(json.loads(config.read_text())["auths"]) == ["https://index.docker.io/v1/"]
    assert find_credentials("docker.io") == Credentials(username="me", password="pw")
    assert logout("docker.io")


def test_a_wrong_password_is_not_kept(scripted: Serve, config: Path) -> None:
    with pytest.raises(RegistryError, match="refuses the login") as caught:
        login(asks(scripted()), "me", "wrong")
    assert caught.value.hint == "check user name and password"
    assert not config.exists()


def test_a_registry_that_asks_nobody_is_told(scripted: Serve, config: Path) -> None:
    first, second = login(scripted().host, "me", "pw").warnings
    assert "was not tried" in first
    assert "unencrypted" in second


@pytest.mark.parametrize(("name", "password"), [("", "x"), ("me", ""), ("a:b", "x")])
def test_a_login_without_its_words(scripted: Serve, name: str, password: str) -> None:
    with pytest.raises(InvalidArgument):
        login(scripted().host, name, password)


def test_a_config_that_is_a_link_stays_one(scripted: Serve, config: Path, tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("{}")
    config.symlink_to(tmp_path / "real.json")
    host = asks(scripted())
    login(host, "me", "right")
    assert config.is_symlink()
    assert host in (tmp_path / "real.json").read_text()


def program(folder: Path, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "docker-credential-test"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_program_keeps_the_password(scripted: Serve, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("JUPYTER_TOKEN", "secret")
    program(
        tmp_path / "bin", 'env >> "$HOME/env"; case $1 in store) cat > "$HOME/kept";; get) cat "$HOME/kept";; erase) rm "$HOME/kept";; esac'
    )
    host = asks(scripted())
    config.write_text(json.dumps({"credsStore": "test"}))
    assert login(host, "me", "right").warnings == ()
    assert "right" not in config.read_text()
    kept = json.loads((tmp_path / "home" / "kept").read_text())
    assert kept == {"ServerURL": host, "Username": "me", "Secret": "right"}
    assert find_credentials(host) == Credentials(username="me", password="right")
    assert logout(host)
    assert not (tmp_path / "home" / "kept").exists()
    assert "secret" not in (tmp_path / "home" / "env").read_text()
    assert find_credentials(host) is None


def test_reg12_a_program_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    program(tmp_path / "bin", 'sleep 1000 & echo $! > "$HOME/child"; echo $$ > "$HOME/pid"; sleep 1000')
    started = time.monotonic()
    with pytest.raises(RegistryError, match="does not answer"):
        Keeper("test", timeout_s=0.5).get("x")
    assert time.monotonic() - started < 5
    started_by_it = [Path(f"/proc/{(tmp_path / name).read_text().strip()}/exe") for name in ("pid", "child")]
    while any(path.exists() for path in started_by_it):
        assert time.monotonic() - started < 10, "what it started is ended too"
        time.sleep(0.02)


def test_reg12_a_program_that_prints_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    program(tmp_path / "bin", "exec cat /dev/zero")
    started = time.monotonic()
    assert Keeper("test").get("x") is None
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("fault", ["directory", "file", "relative"])
def test_reg12_a_program_that_others_could_have_put_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    folder = tmp_path / "bin"
    program(folder, 'touch "$HOME/ran"; echo "{}"')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if fault == "directory":
        folder.chmod(0o777)
    if fault == "file":
        (folder / "docker-credential-test").chmod(0o757)
    monkeypatch.setenv("PATH", "bin:." if fault == "relative" else str(folder))
    with pytest.raises(RegistryError, match="is not there"):
        Keeper("test").get("x")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../../tmp/x", "a;b", "a b", "", "A", "-x", "x" * 100, "a\nb"])
def test_reg12_names_of_programs_that_are_none(name: str) -> None:
    with pytest.raises(RegistryError, match="is not there"):
        Keeper(name).get("x")

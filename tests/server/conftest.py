"""A real Jupyter server in this process, with the extension and an engine in places of its own."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403  # its fixtures and hooks, for this directory only
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from notebook_containers import Engine

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

PREFIX = "notebook-containers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response: its status, body and headers."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> object:
        return json.loads(self.body)

    def field(self, name: str) -> str:
        found = json.loads(self.body)[name]
        assert isinstance(found, str)
        return found


class Client:
    """Asks the running server; the path is sent as it stands, nothing is escaped."""

    def __init__(self, http: AsyncHTTPClient, base: str, token: Mapping[str, str]) -> None:
        self._http, self.base, self.token = http, base, token

    async def __call__(self, method: str, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a path under the extension's prefix; without ``headers`` with the token."""
        return await self.raw(method, f"{self.base}{PREFIX}/{path}", headers=self.token if headers is None else headers)

    async def raw(self, method: str, path: str, *, headers: Mapping[str, str]) -> Answer:
        got: HTTPResponse = await self._http.fetch(
            path, method=method, headers=dict(headers), raise_error=False, follow_redirects=False, allow_nonstandard_methods=True
        )
        return Answer(status=got.code, body=got.body or b"", headers=got.headers)


@pytest.fixture
def jp_server_config() -> dict[str, dict[str, object]]:
    """Only this extension, and no handler may be open to strangers."""
    return {"ServerApp": {"jpserver_extensions": {"notebook_containers": True}, "allow_unauthenticated_access": False}}


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """A store and a run directory of their own, short enough for a socket's name, which the server's engine finds in the environment."""
    top = Path(tempfile.mkdtemp(prefix="nbc-"))
    monkeypatch.setenv("NBC_ROOT", str(top / "root"))
    monkeypatch.setenv("NBC_RUN", str(top / "run"))
    yield top / "root", top / "run"
    shutil.rmtree(top)


@pytest.fixture
def client(
    places: tuple[Path, Path],
    jp_serverapp: ServerApp,
    http_server_client: AsyncHTTPClient,
    jp_base_url: str,
    jp_auth_header: dict[str, str],
) -> Iterator[Client]:
    """A client of the running server, whose engine is closed at the end."""
    yield Client(http_server_client, jp_base_url, jp_auth_header)
    jp_serverapp.web_app.settings["notebook_containers"].close()


@pytest.fixture
def engine(places: tuple[Path, Path]) -> Iterator[Engine]:
    """Another engine on the same places, as a notebook would have; its containers are removed at the end."""
    root, run = places
    with Engine(root=root, run=run) as made:
        yield made
        for container in made.containers.list(all=True):
            container.remove(force=True)

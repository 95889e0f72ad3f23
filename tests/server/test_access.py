"""Who may ask what: every route and verb, without a token, with a cookie alone, as a reader only."""

from __future__ import annotations

import re
from typing import cast

import pytest
from jupyter_server.auth import Authorizer

from notebook_containers.server.handlers import ROUTES
from tests.server.conftest import Client

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
EXAMPLES = [(re.sub(r"\(.*?\)", "web", route), handler) for route, handler in ROUTES]
OFFERED = [(verb, path) for path, handler in EXAMPLES for verb in VERBS if verb.lower() in vars(handler)]
WRITING = [(verb, path) for verb, path in OFFERED if verb != "GET"]


class ReadersOnly(Authorizer):  # type: ignore[misc]  # jupyter_server has no types
    """Lets everybody look and nobody change."""

    async def is_authorized(self, handler: object, user: object, action: str, resource: str) -> bool:
        return action == "read" and resource == "containers"


async def cookies(client: Client) -> dict[str, str]:
    """Log in as a browser does, and return its cookies."""
    token = client.token["Authorization"].split()[1]
    answer = await client.raw("GET", f"{client.base}?token={token}", headers={})
    page = await client.raw("GET", f"{client.base}api/status", headers={"Cookie": joined(answer.headers.get("Set-Cookie", ""))})
    both = joined(answer.headers.get("Set-Cookie", "")) + "; " + joined(page.headers.get("Set-Cookie", ""))
    return dict(part.split("=", 1) for part in both.split("; ") if "=" in part)


def joined(header: str) -> str:
    return "; ".join(re.findall(r"((?:username-|_xsrf)[^=]*=[^;]*)", header))


def test_every_route_is_looked_at() -> None:
    assert len(OFFERED) == len(ROUTES)
    assert {handler.auth_resource for _, handler in ROUTES} == {"containers"}


@pytest.mark.parametrize(("verb", "path"), OFFERED)
async def test_no_token_is_refused(client: Client, verb: str, path: str) -> None:
    answer = await client(verb, path, headers={})
    assert answer.status == 403
    assert set(cast("dict[str, str]", answer.json())) == {"message", "hint"}


@pytest.mark.parametrize(("verb", "path"), OFFERED)
async def test_another_servers_token_is_refused(client: Client, verb: str, path: str) -> None:
    assert (await client(verb, path, headers={"Authorization": "token 0123456789abcdef"})).status == 403


@pytest.mark.parametrize(("verb", "path"), WRITING)
async def test_a_cookie_alone_changes_nothing(client: Client, verb: str, path: str) -> None:
    found = await cookies(client)
    cookie = "; ".join(f"{name}={value}" for name, value in found.items())
    answer = await client(verb, path, headers={"Cookie": cookie})
    assert answer.status == 403
    assert "_xsrf" in answer.field("message")


async def test_a_cookie_with_its_xsrf_token_is_let_in(client: Client) -> None:
    found = await cookies(client)
    cookie = "; ".join(f"{name}={value}" for name, value in found.items())
    answer = await client("POST", "containers/..bad/start", headers={"Cookie": cookie, "X-XSRFToken": found["_xsrf"]})
    assert answer.status == 400


async def test_a_page_of_another_origin_is_refused(client: Client) -> None:
    found = await cookies(client)
    cookie = "; ".join(f"{name}={value}" for name, value in found.items())
    headers = {"Cookie": cookie, "X-XSRFToken": found["_xsrf"], "Origin": "http://evil.example"}
    assert (await client("POST", "containers/..bad/start", headers=headers)).status in (403, 404)


class TestReader:
    @pytest.fixture
    def jp_server_config(self) -> dict[str, dict[str, object]]:
        return {"ServerApp": {"jpserver_extensions": {"notebook_containers": True}, "authorizer_class": ReadersOnly}}

    @pytest.mark.parametrize(("verb", "path"), WRITING)
    async def test_a_reader_changes_nothing(self, client: Client, verb: str, path: str) -> None:
        answer = await client(verb, path)
        assert answer.status == 403
        assert "containers" in answer.field("message")

    async def test_a_reader_may_look(self, client: Client) -> None:
        assert (await client("GET", "containers/..bad/json")).status == 400

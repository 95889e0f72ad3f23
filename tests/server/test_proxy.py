"""A published port seen through jupyter-server-proxy, as a browser far away sees it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.notebook import links
from tests.home import BASE
from tests.server.conftest import Client

pytestmark = [pytest.mark.root, pytest.mark.netns]
SERVED = "mkdir -p /www; echo served > /www/index.html; exec busybox httpd -f -p 80 -h /www"


@pytest.fixture
def jp_server_config() -> dict[str, dict[str, object]]:
    return {
        "ServerApp": {
            "jpserver_extensions": {"notebook_containers": True, "jupyter_server_proxy": True},
            "allow_unauthenticated_access": False,
        }
    }


async def test_a_published_port_opens_through_the_notebooks_server(
    client: Client, places: tuple[Path, Path], no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(root=places[0], run=places[1]) as engine:
        container = engine.containers.run(BASE, ["sh", "-c", SERVED], detach=True, ports=["80", "53/udp"], stop_timeout=0)
        assert isinstance(container, Container)
        try:
            url = container.url(80, path="/index.html")
            assert str(url) == f"http://127.0.0.1:{url.host_port}/index.html"
            monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", client.base)
            address = links.where(url.host_ip, url.host_port, path=url.path)
            assert address == f"{client.base}proxy/{url.host_port}/index.html"
            answer = await client.raw("GET", address, headers=client.token)
            deadline = time.monotonic() + 30
            while answer.status != 200 and time.monotonic() < deadline:  # it is still starting
                answer = await client.raw("GET", address, headers=client.token)
            assert (answer.status, answer.body) == (200, b"served\n")
            assert (await client.raw("GET", address, headers={})).status in (302, 403), "the server's own doors stand before it"
            rows = (await client("GET", "containers/json")).json()
            assert isinstance(rows, list)
            assert {port["Type"]: port.get("Link") for port in rows[0]["Ports"]} == {"tcp": f"proxy/{url.host_port}/", "udp": None}
        finally:
            container.remove(force=True)
        engine.networks.tidy()


def test_without_the_proxy_a_link_is_this_machines_own_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    monkeypatch.setenv("JPY_PARENT_PID", "4711")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", os.fspath(tmp_path))
    assert links.where("0.0.0.0", 8080) == "http://127.0.0.1:8080/"
    assert links.where("::", 8080) == "http://[::1]:8080/"
    (tmp_path / "jpserver-4711.json").write_text('{"base_url": "/lab-of-ann/"}')
    assert links.where("0.0.0.0", 8080) == "/lab-of-ann/proxy/8080/"
    assert links.where("192.0.2.1", 8080) == "http://192.0.2.1:8080/", "what is not this machine's own is not proxied"
    (tmp_path / "jpserver-4711.json").write_text('{"base_url": "javascript:alert(1)"}')
    assert links.where("127.0.0.1", 8080) == "http://127.0.0.1:8080/"

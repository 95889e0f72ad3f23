"""The handlers on a real engine: what a notebook made is listed, started, stopped and removed over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from notebook_containers import Engine
from tests.server.conftest import Answer, Client

Rows = list[dict[str, object]]


def rows(answer: Answer) -> Rows:
    assert answer.status == 200, answer.body
    return cast("Rows", answer.json())


@pytest.mark.parametrize(
    "name", ["..%2f..", "%00", "a%0ab", "-rm", "a;b", "*", "a%20b", "%E2%80%AEweb", "x" * 10_240], ids=lambda name: name[:12]
)
async def test_a_name_that_cannot_be_one_is_refused(client: Client, name: str) -> None:
    for verb, path in (("GET", f"containers/{name}/json"), ("POST", f"containers/{name}/stop"), ("DELETE", f"containers/{name}")):
        answer = await client(verb, path)
        assert answer.status == 400
        assert answer.field("message").endswith("is not a container's name or id")
        assert len(answer.body) < 400


@pytest.mark.parametrize("name", ["..%2f..%2fetc", "a%00", "a/../b", "/etc/passwd", "a//b", "-f"])
async def test_an_image_name_that_cannot_be_one_is_refused(client: Client, name: str) -> None:
    assert (await client("DELETE", f"images/{name}")).status == 400


@pytest.mark.parametrize("query", ["tail=-1", "tail=x", "tail=1e3", "tail=999999999", "tail="])
async def test_a_number_that_is_none_is_refused(client: Client, query: str) -> None:
    answer = await client("GET", f"containers/web/logs?{query}")
    assert answer.status == 400
    assert answer.field("hint") == "give a whole number from 0 to 100000"


async def test_looking_changes_nothing(client: Client) -> None:
    for path in ("containers/web/start", "containers/web/stop", "containers/web/restart", "containers/web", "images/hello"):
        assert (await client("GET", path)).status == 405


async def test_a_root_that_cannot_be_used_is_said(client: Client, places: tuple[Path, Path]) -> None:
    places[0].parent.joinpath("root").write_text("a file, no directory")
    answer = await client("GET", "containers/json?all=1")
    assert answer.status == 500
    assert str(places[0]) in answer.field("message")
    places[0].unlink()


@pytest.mark.root
async def test_a_container_from_start_to_end(client: Client, engine: Engine) -> None:
    made = engine.containers.create(
        "localhost/base", ["sh", "-c", "echo here; exec sleep 300"], name="web", labels={"a": "b"}, network_mode="none"
    )
    (row,) = rows(await client("GET", "containers/json?all=1"))
    assert (row["Id"], row["Names"], row["State"], row["Status"]) == (made.id, ["/web"], "created", "Created")
    assert cast("dict[str, str]", row["Labels"])["a"] == "b"
    assert rows(await client("GET", "containers/json")) == []

    assert (await client("POST", "containers/web/start")).status == 204
    (row,) = rows(await client("GET", "containers/json"))
    assert row["State"] == "running"
    assert str(row["Status"]).startswith("Up ")
    assert engine.containers.get("web").status == "running"

    refused = await client("DELETE", f"containers/{made.id[:12]}")
    assert refused.status == 409
    assert refused.field("hint")

    assert (await client("POST", "containers/web/stop?t=1")).status == 204
    assert engine.containers.get("web").status == "exited"
    log = await client("GET", "containers/web/logs?tail=1")
    assert (log.status, log.body) == (200, b"here\n")
    assert log.headers["Content-Type"] == "text/plain; charset=utf-8"

    assert (await client("POST", "containers/web/restart")).status == 204
    inspected = cast("dict[str, object]", (await client("GET", "containers/web/json")).json())
    assert inspected["Id"] == made.id
    assert (await client("DELETE", "containers/web?force=1")).status == 204
    assert (await client("GET", "containers/web/json")).status == 404
    assert engine.containers.list(all=True) == []


@pytest.mark.root
async def test_images_are_listed_and_removed(client: Client, engine: Engine) -> None:
    image = engine.images.get("localhost/base")
    image.tag("other:1")
    (row,) = rows(await client("GET", "images/json"))
    assert row["Id"] == str(image.id)
    assert sorted(cast("list[str]", row["RepoTags"])) == ["localhost/base:latest", "other:1"]
    assert row["Size"] == image.size
    assert row["LayerCount"] == len(image.layers)

    engine.containers.create("localhost/base", ["true"], name="holder")
    assert (await client("DELETE", "images/other:1")).status == 200
    refused = await client("DELETE", "images/localhost/base:latest")
    assert refused.status == 409
    assert "holder" in refused.field("message")
    engine.containers.get("holder").remove()
    assert (await client("DELETE", "images/localhost%2Fbase:latest")).status == 200
    assert rows(await client("GET", "images/json")) == []


@pytest.mark.root
async def test_info_and_version(client: Client, engine: Engine) -> None:
    answer = await client("GET", "info")
    assert answer.status == 200, answer.body
    info = cast("dict[str, object]", answer.json())
    assert info["DockerRootDir"] == str(engine.root)
    version = cast("dict[str, object]", (await client("GET", "version")).json())
    assert version["Version"] == json.loads((Path(__file__).parents[2] / "labextension" / "package.json").read_text())["version"]


@pytest.mark.root
async def test_a_missing_container_is_not_found(client: Client) -> None:
    answer = await client("POST", "containers/nosuch/start")
    assert answer.status == 404
    assert "nosuch" in answer.field("message")

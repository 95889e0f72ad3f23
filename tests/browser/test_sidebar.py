"""The sidebar of a running JupyterLab shows what the engine has, and its three actions act."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from notebook_containers import Engine
from tests.browser.conftest import Browser, Lab, running_lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

SLEEP = ["sh", "-c", "trap exit TERM; sleep 300 & wait"]


def texts(browser: Browser, lab: Lab) -> dict[str, object]:
    steps = dict(browser.play("lists", lab))
    assert steps["hidden"] == [], "a sidebar that nobody sees asks the server"
    return cast("dict[str, object]", steps["text"])


@pytest.mark.root
def test_an_empty_store_says_how_to_begin(browser: Browser, lab: Lab) -> None:
    found = texts(browser, lab)
    assert found["rows"] == []
    assert found["notice"] == []
    containers, images = cast("list[str]", found["empty"])
    assert "%load_ext notebook_containers" in containers
    assert "%%dockerfile" in images


@pytest.mark.root
def test_containers_and_images_are_listed(browser: Browser, lab: Lab, engine: Engine) -> None:
    engine.networks.create("own")
    engine.containers.run("localhost/base", SLEEP, name="web", detach=True, network="own", ports={"80/tcp": ("127.0.0.1", 0)})
    engine.containers.create("localhost/base", ["true"], name="never-started", network_mode="none")
    (port,) = engine.containers.get("web").ports
    found = texts(browser, lab)
    never, web, image = cast("list[list[str]]", found["rows"])
    assert never == ["never-started", "Created", "localhost/base"]
    assert web[0] == "web"
    assert web[1].startswith("Up ")
    assert web[3] == f"127.0.0.1:{port.host_port} → 80/tcp"
    assert found["links"] == [f"{lab.url}proxy/{port.host_port}/"], "jupyter-server-proxy opens it"
    assert image[0] == "localhost/base:latest"
    assert image[1].startswith("1 layer · ")
    assert found["status"] == "1 running, 2 containers, 1 images"
    assert {"Stop web", "Remove web", "Start never-started", "Remove localhost/base:latest"} <= set(cast("list[str]", found["labels"]))


def test_a_root_that_cannot_be_used_is_said(browser: Browser, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.write_text("a file, no directory")
    with running_lab(tmp_path, root=root, run=tmp_path / "run") as lab:
        found = texts(browser, lab)
    ((message, *rest),) = cast("list[list[str]]", found["notice"])
    assert str(root) in message
    assert rest[-1] == "Try again"
    assert found["empty"] == ["Not known: see above."] * 2


@pytest.mark.root
def test_the_actions_act(browser: Browser, lab: Lab, engine: Engine) -> None:
    engine.containers.run("localhost/base", SLEEP, name="second", detach=True, network_mode="none")
    engine.containers.run("localhost/base", SLEEP, name="web", detach=True, network_mode="none")
    engine.images.get("localhost/base").tag("other:1")
    played = []
    for step, value in browser.play("actions", lab):
        played.append(step)
        left = {container.name: container.status for container in engine.containers.list(all=True)}
        match step:
            case "stopped" | "stopped again":
                assert left == {"web": "exited", "second": "running"}
            case "started" | "kept":
                assert left == {"web": "running", "second": "running"}
            case "asked":
                assert "Remove the container web?" in str(value)
                assert "It is running" in str(value)
            case "menu":
                ours = cast("list[str]", value)[:3]  # JupyterLab adds a line of its own
                assert ours == ["Stop", "Remove…", "Refresh Containers and Images"]
            case "focused":
                assert str(value).startswith("second, localhost/base, Up ")
            case "removed":
                assert left == {"second": "running"}
                assert str(value).startswith("second, "), "the keyboard's focus is lost"
            case "which":
                (only,) = cast("list[str]", value)
                assert only.startswith("second (container, Up ")
            case "stopped from the palette":
                assert left == {"second": "exited"}
            case "refused":
                assert "is used by container second" in str(value)
                assert "localhost/base:latest" in engine.images.get("localhost/base").tags
            case "untagged":
                assert list(engine.images.get("localhost/base").tags) == ["localhost/base:latest"]
    assert played[-1] == "refused"

"""A project in cells: up in one cell, what follows is about it, a picture, and an interrupt that only ends the looking."""

from __future__ import annotations

import base64
import re

import pytest

from tests.home import BASE
from tests.notebook.kernels import Kernel

pytestmark = [pytest.mark.root, pytest.mark.netns]

CELL = f"""%%compose -p cells
services:
  web:
    image: {BASE}
    command: [sh, -c, "echo web speaks; exec sleep 1000"]
    depends_on: [db]
    stop_grace_period: 0s
  db:
    image: {BASE}
    command: [sh, -c, "echo db speaks; exec sleep 1000"]
    volumes: ["data:/data"]
    ports: ["80"]
    stop_grace_period: 0s
volumes:
  data:
"""


def picture(html: str) -> str:
    found = re.search(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html)
    assert found is not None
    return base64.b64decode(found[1]).decode()


def test_a_project_from_up_to_down(kernel: Kernel) -> None:
    up = kernel.ok(CELL)
    display = up.displays[-1]
    assert re.search(r"SERVICE +STATE +HEALTH +WAITING FOR +PORTS", display["text/plain"])
    assert re.search(r"^db +running +127\.0\.0\.1:\d+->80/tcp$", display["text/plain"], re.MULTILINE)
    assert "<code>web</code>" in display["text/html"]
    ps = kernel.ok("%compose ps")
    assert "cells-web-1" in ps.text
    assert kernel.ok("list(_.index)").text == "['db', 'web']"
    logs = kernel.ok("%compose logs")
    assert "db speaks\n" in logs.stdout
    assert re.search(r"\x1b\[\d+mweb-1  \| \x1b\[0mweb speaks", logs.stdout)
    graph = kernel.ok("%compose graph")
    svg = picture(graph.result["text/html"])
    for word in ("running", "network", "volume", "started", "the last up"):
        assert word in svg
    again = kernel.ok("%compose up")
    assert "running" in again.displays[-1]["text/plain"]
    kernel.ok("%compose down -v")
    assert "no container" in kernel.ok("%compose graph").text


def test_following_logs_ends_with_an_interrupt_and_the_project_goes_on(kernel: Kernel) -> None:
    kernel.ok(CELL)
    cell, _seconds = kernel.interrupted("%compose logs -f", when="db speaks")
    assert cell.status == "ok"
    ps = kernel.ok("%compose ps --out projects")
    assert kernel.ok("set(projects.state)").text == "{'running'}", ps.text
    kernel.ok("%compose down -v")


def test_a_cell_may_name_another_verb(kernel: Kernel) -> None:
    config = kernel.ok(CELL.replace("%%compose -p cells", "%%compose -p cells config --services"))
    assert sorted(config.stdout.split()) == ["db", "web"]
    both = kernel.run(CELL.replace("%%compose -p cells", "%%compose -f other.yaml config"))
    assert (both.ename, "-f other.yaml and a cell's text cannot both be the file" in both.error) == ("InvalidArgument", True)

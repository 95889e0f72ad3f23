"""The picture of a project and the table that follows a verb: pure, from data."""

from __future__ import annotations

from notebook_containers.commands.compose_board import Board
from notebook_containers.commands.compose_graph import Need, ProjectGraph, ServiceBox, Shared
from notebook_containers.compose.progress import Span, Told
from notebook_containers.notebook.graphs import ProjectDiagram
from notebook_containers.notebook.projects import ProjectView

HOSTILE = "<img src=x onerror=alert(1)>"


def graph() -> ProjectGraph:
    web = ServiceBox(
        name="web", image=HOSTILE, how="ill", state="exited (1)", depth=1, needs=[Need(on="db", condition="healthy")],
        networks=["front"], ports=["127.0.0.1:8080 → 80/tcp"],
    )  # fmt: skip
    db = ServiceBox(name="db", image="mysql", how="well", state="healthy", depth=0, networks=["front"], volumes=["data"])
    return ProjectGraph(
        name="shop",
        services=[db, web],
        networks=[Shared(key="front", name="shop_front", external=False, services=["db", "web"])],
        volumes=[Shared(key="data", name="corp", external=True, services=["db"])],
        spans=[
            Span(service="db", name="shop-db-1", doing="starting", began=0.0, ended=1.0),
            Span(service="web", name="web", doing="waiting", on="db", condition="service_healthy", began=1.0, ended=3.0),
        ],
    )


def test_the_picture_shows_everything_and_nothing_runs_in_it() -> None:
    found = ProjectDiagram(graph())
    svg = found.to_svg()
    for word in ("web", "✗ exited (1)", "● healthy", "127.0.0.1:8080", "network ", "(corp, external): db", "waits for db", "the last up"):
        assert word in svg, word
    html = str(found.to_html())
    assert HOSTILE not in svg + html
    assert "<summary>As a table</summary>" in html
    assert "needs: db (healthy)" in found.to_text()
    assert "1 of 2 well" in graph().sentence()


def test_what_waits_and_what_went_wrong_is_in_the_table() -> None:
    board = Board("project shop", ["web", "db"], list)
    view = ProjectView(board)
    view(Told(kind="service", name="web", phase="waiting", service="web", on="db", condition="service_healthy"))
    view(Told(kind="container", name="shop-db-1", phase="starting", service="db"))
    view(Told(kind="volume", name="shop_data", phase="warning", text=HOSTILE))
    text = repr(view.snapshot())
    assert "waiting" in text
    assert "db (healthy)" in text
    assert "starting" in text
    html = view.snapshot()._repr_mimebundle_()["text/html"]
    assert HOSTILE not in str(html)
    view(Told(kind="service", name="web", phase="waited", service="web", on="db"))
    board.end(RuntimeError("no more"))
    text = repr(view.snapshot())
    assert "db (healthy)" not in text
    assert "stopped after" in text
    assert "no more" in text

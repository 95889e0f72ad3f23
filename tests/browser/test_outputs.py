"""Outputs and cells in notebooks: diagrams drawn from untrusted data, Dockerfiles shown as such."""

from __future__ import annotations

from typing import cast

import nbformat
import pytest

from notebook_containers import Engine
from notebook_containers.commands.topology import ContainerBox, NetworkBox, Place, Published, Subnet, Topology
from notebook_containers.lean import replace
from notebook_containers.notebook.diagrams import LAYERS_MIME, ImageStack, LayerBox, LayerDiagram
from notebook_containers.notebook.drawing import DRAWING_MIME
from notebook_containers.notebook.topology import TopologyDiagram
from tests.browser.conftest import Browser, Lab
from tests.home import BASE

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ELEMENTS = {"details", "div", "p", "path", "rect", "summary", "svg", "table", "td", "text", "th", "title", "tr", "tspan"}
HOSTILE = "<img src=x onerror=window.__pwned=1>"
DOCKERFILE = """%%dockerfile -t hello
# a comment
FROM --platform=linux/amd64 localhost/base AS first
ENV GREETING=hello \\
    # between continued lines
    WHO=you
RUN <<END
echo "$GREETING"
END
ONBUILD RUN true"""

Cell = list[list[tuple[str, str]]]


def layer(letter: str, instruction: str, size: int) -> LayerBox:
    return LayerBox(diff_id=f"sha256:{letter * 64}", instruction=instruction, size=size)


def stack(name: str, *layers: LayerBox) -> ImageStack:
    return ImageStack(name=name, id="sha256:" + "0" * 64, layers=layers)


def write(lab: Lab, name: str, *cells: nbformat.NotebookNode) -> None:
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab.notebooks / name)


def shown(*bundles: dict[str, object]) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("display_data", bundle) for bundle in bundles])


def test_diagrams_are_drawn_and_nothing_in_them_comes_alive(browser: Browser, lab: Lab) -> None:
    base = layer("a", "FROM localhost/base", 4_567_890)
    empty = LayerBox(diff_id="", instruction='CMD ["cat"]', empty=True)
    diagram = LayerDiagram([stack("hello:latest", base, layer("b", f"RUN {HOSTILE}", 312), empty), stack(HOSTILE, base)])
    strange = {
        "version": 1,
        "images": [],
        "drawing": {"width": -1, "height": "x", "shapes": [{"kind": HOSTILE, "role": HOSTILE, "x": HOSTILE}]},
    }
    alternative = {"text/plain": "the text alternative"}
    box = ContainerBox(name=HOSTILE, image="nginx", state="running", places=(Place(network="front", addresses=("10.1.0.2/24",)),))
    port = Published(host="127.0.0.1:8080", inside="80/tcp")
    front = NetworkBox(name="front", driver="bridge", subnets=(Subnet(subnet="10.1.0.0/24", gateway="10.1.0.1"),))
    networks = TopologyDiagram(Topology(host="laptop", networks=(front,), containers=(replace(box, ports=(port,)),)))
    bad = {"version": 1, "table": {"heads": [1], "rows": "none"}, "drawing": {}}
    cell = shown(
        diagram._repr_mimebundle_(),
        {LAYERS_MIME: strange},
        {LAYERS_MIME: {"version": 99}, **alternative},
        {LAYERS_MIME: [], **alternative},
        {DRAWING_MIME: bad, **alternative},
        networks._repr_mimebundle_(),
    )
    write(lab, "layers.ipynb", cell)
    steps = dict(browser.play("layers", lab))
    drawn, odd, newer, none, wrong, connected = cast("list[dict[str, object]]", steps["drawn"])
    assert drawn["title"] == f"Layers of hello:latest, {HOSTILE}"
    assert drawn["rows"] == 5
    assert "sharing saves 4.57 MB" in str(drawn["text"])
    assert set(cast("list[str]", drawn["elements"])) <= ELEMENTS
    assert set(cast("list[str]", odd["elements"])) <= ELEMENTS
    assert (connected["title"], connected["rows"]) == ("Networks and containers", 2)
    assert set(cast("list[str]", connected["elements"])) <= ELEMENTS
    assert "1 network, 1 container, 1 published port" in str(connected["text"])
    for refused in (newer, none, wrong):
        assert "the text alternative" in str(refused["text"])
        assert refused["elements"] == ["p", "pre"]


def test_dockerfile_cells_are_shown_as_dockerfiles(browser: Browser, lab: Lab) -> None:
    write(
        lab,
        "dockerfile.ipynb",
        *map(nbformat.v4.new_code_cell, (DOCKERFILE, "import os\nfor x in range(3): pass", "FROM scratch\nRUN true")),
    )
    steps = dict(browser.play("dockerfile", lab))
    opened = cast("dict[str, Cell]", steps["opened"])
    look = {word: style for line in opened["dockerfile"] for word, style in line}
    keyword, comment, string, marker = look["FROM"], look["# a comment"], look["=linux/amd64"], look["%%dockerfile"]
    assert len({keyword, comment, string, marker}) == 4
    assert {look[word] for word in ("ENV", "RUN", "AS", "ONBUILD")} == {keyword}
    assert look["    # between continued lines"] == comment
    assert look["WHO"] == look["GREETING"] not in {keyword, comment}
    assert look['echo "$GREETING"'] == string
    assert look["END"] == look["<<END"] == marker
    python = {word: style for line in opened["python"] for word, style in line}
    assert python["import"] == keyword
    typed = {word: style for line in cast("Cell", steps["typed"]) for word, style in line}
    assert (typed["FROM"], typed["RUN"]) == (keyword, keyword)


STAGES = f"""%%dockerfile -t builds
FROM {BASE} AS tools
RUN for i in 1 2 3 4 5 6 7 8; do echo working $i; sleep 0.4; done
from {BASE} AS web
RUN sleep 1; echo page > /page
FROM {BASE}
COPY --from=tools /etc/passwd /tools
COPY --from=web /page /page
"""
BROKEN = STAGES.replace("RUN sleep 1; echo page > /page", "RUN echo half of it; echo no such tool >&2; exit 3")


def test_builds_are_seen_live_with_warnings_and_where_they_failed(browser: Browser, lab: Lab, engine: Engine) -> None:
    engine.images.get(BASE)
    write(lab, "builds.ipynb", *map(nbformat.v4.new_code_cell, ("%load_ext notebook_containers", STAGES, BROKEN)))
    seen = cast("dict[str, dict[str, object]]", dict(browser.play("builds", lab)))
    live, failed = str(seen["live"]["words"]), str(seen["broken"]["words"])
    assert "Building: " in live
    assert "working 1" in live
    assert seen["live"]["picture"] == [True, 668]
    assert "ConsistentInstructionCasing" in str(seen["built"]["words"])
    assert "Build failed at step 4 of 7" in failed
    assert "   4 | RUN echo half of it; echo no such tool >&2; exit 3\n       ^^^^^" in failed
    assert "no such tool" in failed
    assert "ended with exit code 3" in failed
    assert seen["broken"]["picture"] == [True, 668]
    assert engine.images.failed().line == 4

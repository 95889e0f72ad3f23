"""A pull in a cell of JupyterLab: one display that moves, and stays as a summary, also in what nbconvert writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import cast

import nbformat
import pytest

from notebook_containers import Engine
from tests.browser.conftest import Browser, Lab
from tests.registry.conftest import scripted  # noqa: F401 - a fixture
from tests.registry.images import serve_layers
from tests.registry.scripted import Scripted

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.mark.root
def test_a_pull_moves_in_one_display_and_stays_as_a_summary(
    browser: Browser,
    lab: Lab,
    engine: Engine,
    scripted: Callable[..., Scripted],  # noqa: F811
) -> None:
    layers = [os.urandom(size) for size in (300_000, 6_000_000, 4_000_000, 2_000_000, 40_000)]
    name = serve_layers(scripted(), *layers, bytes_per_s=800_000)
    cells = [nbformat.v4.new_code_cell(text) for text in ("%load_ext notebook_containers", f"%container_pull {name}")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab.notebooks / "pull.ipynb")
    steps = dict(browser.play("pull", lab))
    moving, ended = (cast("dict[str, object]", steps[name]) for name in ("moving", "ended"))
    assert moving["outputs"] == 1
    assert cast("int", moving["bars"]) >= 2
    assert f"Pulling {name} (linux/amd64): " in str(moving["text"])
    assert "downloading" in str(moving["text"])
    assert "kB/s" in str(moving["text"])
    assert ended["outputs"] == 2, "the display, and the image that the cell gives"
    assert ended["bars"] == 0
    assert f"Pulled {name} in " in str(ended["text"])
    assert len(engine.images.get(name).layers) == len(layers)

"""A build explains itself: its steps as a table, the step that failed and any other opened as a container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from tests.home import BASE, Home

pytestmark = pytest.mark.root


@pytest.fixture
def own(own_home: Home) -> Iterator[Engine]:
    """An engine of this test's own."""
    with own_home.open() as engine:
        yield engine


def test_the_steps_are_a_table(own: Engine, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1")
    text = f"FROM {BASE}\nENV A=b\nCOPY app.py /\nRUN echo 1 > /one\n"
    result = own.images.build(tmp_path, text=text)
    (tmp_path / "app.py").write_text("2")
    result = own.images.build(tmp_path, text=text)
    frame = result.steps.frame()
    assert list(frame.columns) == ["line", "instruction", "status", "reason", "seconds", "bytes_added", "layer"]
    assert list(frame.index) == [1, 2, 3, 4]
    assert list(frame.status) == ["metadata", "metadata", "built", "built"]
    assert frame.reason[3].startswith("file app.py changed (")
    assert frame.layer[4] == result.image.layers[-1]
    assert frame.bytes_added.sum() == sum(step.bytes_added for step in result.steps)
    shown = result.steps._repr_html_()
    assert shown is not None
    assert "file app.py changed" in shown
    assert isinstance(result.steps, tuple)

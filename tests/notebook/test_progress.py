"""The notebook's view of a build: one display, few updates, a static end (with a real IPython display publisher)."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import nbclient
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import RichOutput

from notebook_containers.build.progress import (
    ImageDone,
    PlannedStep,
    PlanReady,
    StepDone,
    StepFailed,
    StepOutput,
    StepStarted,
    Warned,
)
from notebook_containers.commands.progress import PlainBuildView
from notebook_containers.notebook.progress import BuildView, build_view
from notebook_containers.oci.image import Digest

ATTACK = "<img src=x onerror=alert(1)>\x1b]52;c;eA==\x07\u202e"
ROOT = Path(__file__).parents[2]
IMAGE = Digest("sha256:" + "0123456789ab" + "0" * 52)


@pytest.fixture
def published() -> Iterator[list[dict[str, object]]]:
    """What a front end would get: each message's data, and whether it is an update of a display."""
    from IPython.core.displaypub import CapturingDisplayPublisher

    shell = InteractiveShell.instance()
    before, shell.display_pub = shell.display_pub, CapturingDisplayPublisher()  # type: ignore[no-untyped-call]
    yield shell.display_pub.outputs
    shell.display_pub = before


def plan(text: str = "RUN make") -> PlanReady:
    return PlanReady(
        steps=(PlannedStep(index=1, stage="0", line=1, text="FROM localhost/base"), PlannedStep(index=2, stage="0", line=2, text=text))
    )


def begin(view: BuildView, text: str = "RUN make") -> None:
    view(plan(text))
    view(StepStarted(index=1, total=2, line=1, text="FROM localhost/base"))
    view(StepDone(index=1, cached=True, reason="in the cache", seconds=0.01, bytes_added=30_000_000, layer=Digest.of(b"x")))
    view(StepStarted(index=2, total=2, line=2, text=text))


def html(output: dict[str, object]) -> str:
    data = output["data"]
    assert isinstance(data, dict)
    return str(data["text/html"])


def test_a_build_is_one_display_that_ends_as_a_summary(published: list[dict[str, object]]) -> None:
    with BuildView() as view:
        begin(view)
        view(StepOutput(index=2, stream="stdout", data=b"cc -c a.c\n"))
        time.sleep(0.4)
        assert "cc -c a.c" in html(published[-1])
        assert "<progress" in html(published[-1])
        view(StepDone(index=2, cached=False, reason="never built", seconds=0.4, bytes_added=2000, layer=Digest.of(b"y")))
        view(ImageDone(image_id=IMAGE, tags=("hello:latest",)))
    assert [bool(output["update"]) for output in published] == [False] + [True] * (len(published) - 1)
    ids = {str(output["transient"]) for output in published}
    assert len(ids) == 1
    last = html(published[-1])
    assert "Built hello:latest (0123456789ab)" in last
    assert "2 steps, 1 cached, 2 kB added" in last
    assert "<progress" not in last
    assert "cc -c" not in last
    assert RichOutput(**published[-1]).data["text/plain"].startswith("Built hello:latest")  # type: ignore[no-untyped-call]


def test_a_flood_of_output_costs_few_updates_and_the_last_line_is_shown(published: list[dict[str, object]]) -> None:
    begun = time.monotonic()
    with BuildView() as view:
        begin(view)
        for number in range(20_000):
            view(StepOutput(index=2, stream="stdout", data=f"line {number}\n".encode()))
        passed = time.monotonic() - begun
        assert len(published) <= passed * 8 + 3
        time.sleep(0.4)
        assert "line 19999" in html(published[-1])


def test_a_silent_step_still_shows_its_seconds(published: list[dict[str, object]]) -> None:
    with BuildView() as view:
        begin(view)
        time.sleep(1.5)
        assert "1.1 s" in html(published[-1]) or "1.0 s" in html(published[-1]) or "1.2 s" in html(published[-1])


def test_a_failure_shows_the_line_with_carets_and_the_output(published: list[dict[str, object]]) -> None:
    view = BuildView()

    def build() -> None:
        with view:
            begin(view)
            view(StepOutput(index=2, stream="stderr", data=b"make: no rule"))
            view(StepFailed(index=2, message="exit status 2", seconds=0.2))
            raise ValueError("it failed")

    with pytest.raises(ValueError, match="it failed"):
        build()
    last = html(published[-1])
    assert "   2 | RUN make\n       ^^^^^^^^\nexit status 2\n\nmake: no rule" in last
    assert "Build failed at step 2 of 2" in last
    assert "make: no rule" in repr(view.snapshot())


def test_an_interrupt_leaves_and_the_display_says_so(published: list[dict[str, object]]) -> None:
    def build() -> None:
        with BuildView() as view:
            begin(view)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build()
    assert "interrupted" in html(published[-1])
    assert "■\xa0stopped" in html(published[-1])


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") or name == "src" for name, _ in attrs)


def test_jup03_hostile_text_stays_text(published: list[dict[str, object]]) -> None:
    def build() -> None:
        with BuildView() as view:
            begin(view, ATTACK)
            view(StepOutput(index=2, stream="stdout", data=ATTACK.encode()))
            view(Warned(line=1, message=ATTACK))
            time.sleep(0.3)
            view(StepFailed(index=2, message=ATTACK, seconds=0.2))
            raise ValueError(ATTACK)

    with pytest.raises(ValueError, match="onerror"):
        build()
    for output in published:
        parser = Tags()
        parser.feed(html(output))
        assert parser.seen <= {"div", "strong", "em", "progress", "table", "tbody", "tr", "td", "code", "pre", "details", "summary"}
        assert "\x1b" not in str(output["data"])
        assert "\u202e" not in html(output)


def test_a_real_kernel_saves_only_the_end() -> None:
    """Nbclient keeps the last value of a display: the notebook on disk has one output, the summary."""
    code = """
    from notebook_containers.build.progress import *
    from notebook_containers.notebook.progress import build_view
    from notebook_containers.oci.image import Digest
    import time
    with build_view(get_ipython()) as view:
        view(PlanReady(steps=(PlannedStep(index=1, stage="0", line=1, text="FROM scratch"),)))
        view(StepStarted(index=1, total=1, line=1, text="FROM scratch"))
        time.sleep(0.3)
        view(StepDone(index=1, cached=False, reason="", seconds=0.3, bytes_added=0, layer=None))
        view(ImageDone(image_id=Digest.of(b""), tags=("x:latest",)))
    """
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(code))])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute(env={**os.environ, "PYTHONPATH": str(ROOT)})
    (output,) = notebook.cells[0].outputs
    assert output["data"]["text/plain"].startswith("Built x:latest")


def test_a_terminal_gets_lines() -> None:
    assert isinstance(build_view(InteractiveShell.instance()), PlainBuildView)

"""``--progress``: the five views of a build, the block of a terminal, the lines of BuildKit's JSON."""

from __future__ import annotations

import base64
import io
import json

import pytest

from notebook_containers.build.progress import (
    Event,
    FetchProgress,
    Hinted,
    ImageDone,
    PlannedStep,
    PlanReady,
    StepDecided,
    StepDone,
    StepFailed,
    StepOutput,
    StepStarted,
    Warned,
)
from notebook_containers.commands.build_views import MODES, build_view
from notebook_containers.commands.progress import PlainBuildView
from notebook_containers.commands.raw_builds import RawBuildView
from notebook_containers.commands.terminal_builds import TerminalBuildView
from notebook_containers.errors import InvalidArgument
from notebook_containers.oci.image import Digest
from tests.commands.screen import Screen

ATTACK = "\x1b]52;c;eA==\x07\x1b[2Jevil\u202e"
IMAGE = Digest("sha256:" + "0123456789ab" + "0" * 52)


def plan(count: int) -> PlanReady:
    steps = [PlannedStep(index=1, stage="made", line=1, text="FROM base AS made")]
    steps += [PlannedStep(index=i, stage="made", line=i, text=f"RUN make {i}") for i in range(2, count)]
    steps.append(PlannedStep(index=count, stage="1", line=count, text="COPY --from=made / /", takes=("made",)))
    return PlanReady(steps=tuple(steps))


def started(index: int, total: int = 4) -> StepStarted:
    return StepStarted(index=index, total=total, line=index, text=f"RUN make {index}")


def done(index: int, *, cached: bool = False) -> StepDone:
    return StepDone(index=index, cached=cached, reason="never built", seconds=0.4, bytes_added=0, layer=None)


def output(index: int, text: str) -> StepOutput:
    return StepOutput(index=index, stream="stdout", data=text.encode())


def test_auto_is_what_the_output_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(80, 24)
    try:
        monkeypatch.setenv("TERM", "xterm")
        assert isinstance(build_view("auto", screen.out), TerminalBuildView)
        assert isinstance(build_view("plain", screen.out), PlainBuildView)
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(build_view("auto", screen.out), PlainBuildView)
        with pytest.raises(InvalidArgument) as info:
            build_view("tty", screen.out)
        assert info.value.hint == "use --progress plain"
    finally:
        screen.close()


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "tty"])
def test_every_mode_takes_every_event(mode: str) -> None:
    out = io.StringIO()
    with build_view(mode, out) as view:
        began: list[Event] = [plan(4), started(1), StepDecided(index=1, reason="never built", again=False), output(1, "x\n"), done(1)]
        began += [FetchProgress(name="https://a.example/d", current=5, total=9), FetchProgress(name="g", current=9, total=9, ended=True)]
        events: list[Event] = [*began, Warned(line=1, message="w"), Hinted(line=1, message="h"), ImageDone(image_id=IMAGE, tags=())]
        for event in events:
            view(event)
    assert bool(out.getvalue()) is (mode != "quiet")


@pytest.mark.parametrize("screen", [(60, 24)], indirect=True)
def test_a_terminal_shows_what_runs_with_its_last_lines(screen: Screen) -> None:
    with build_view("tty", screen.out) as view:
        assert isinstance(view, TerminalBuildView)
        for event in (plan(4), started(1), done(1, cached=True), started(2)):
            view(event)
        view(output(2, "".join(f"line {number}\n" for number in range(20)) + "half"))
        view._draw()
        shown = screen.now()
        assert shown[0].startswith("[+] Building: 1 of 4 steps done, ")
        assert shown[1].split() == ["=>", "CACHED", "[1/4]", "RUN", "make", "1", "0.4s"]
        assert [line.strip() for line in shown[3:9]] == [*(f"=> => line {number}" for number in range(15, 20)), "=> => half"]
        for index in (3, 4):
            view(done(index - 1))
            view(started(index))
        view(done(4))
        view(Warned(line=3, message="quote it", rule="R"))
        view(ImageDone(image_id=IMAGE, tags=("made:1",)))
    screen.close()
    shown = screen.text()
    assert shown[0].startswith("[+] Built made:1 (0123456789ab) in ")
    assert [line.split()[1] for line in shown[1:5]] == ["CACHED", "[2/4]", "[3/4]", "[4/4]"]
    assert shown[5:] == ["WARNING: R: quote it (line 3)", ""]


@pytest.mark.parametrize("screen", [(40, 8)], indirect=True)
def test_a_small_terminal_leaves_out_what_has_ended(screen: Screen) -> None:
    with build_view("tty", screen.out) as view:
        assert isinstance(view, TerminalBuildView)
        view(plan(30))
        for index in range(1, 20):
            view(started(index, 30))
            view(done(index))
        view(started(20, 30))
        view(output(20, f"{ATTACK}\n" + "x" * 300))
        view._draw()
        shown = screen.now()
        assert len(shown) <= 8
        assert shown[1] == "=> … 17 steps above"
        assert any("[20/30]" in line for line in shown)
        assert all(len(line) < 40 for line in shown)
        assert not any("\x1b" in line or "\u202e" in line for line in shown)
        view(ImageDone(image_id=IMAGE, tags=()))
    screen.close()


@pytest.mark.parametrize("screen", [(80, 24)], indirect=True)
def test_a_failed_step_stays_with_its_output_and_carets(screen: Screen) -> None:
    def fail() -> None:
        with build_view("tty", screen.out) as view:
            for event in (plan(4), started(1), done(1), started(2), output(2, "no such target\n")):
                view(event)
            view(StepFailed(index=2, message="RUN make 2 ended with exit code 2", seconds=0.1))
            raise InvalidArgument("failed")

    with pytest.raises(InvalidArgument):
        fail()
    screen.close()
    shown = screen.text()
    assert shown[0].startswith("[+] Build failed at step 2 of 4 after ")
    assert shown[2].split()[:4] == ["=>", "ERROR", "[2/4]", "RUN"]
    assert shown[4:7] == ["no such target", "   2 | RUN make 2", "       ^^^^^^^^^^"]


def raw(*events: Event) -> list[dict[str, list[dict[str, object]]]]:
    out = io.StringIO()
    with RawBuildView(out, now=lambda: "2026-01-02T03:04:05Z") as view:
        for event in events:
            view(event)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_rawjson_has_buildkits_shape() -> None:
    lines = raw(plan(3), started(2, 3), StepOutput(index=2, stream="stderr", data=b"\xff\n"), done(2, cached=True))
    first, second, last = (line["vertexes"][0] for line in lines[:3])
    assert first["name"] == "[made 1/3] FROM base AS made"
    assert second["inputs"] == [first["digest"]]
    assert last["inputs"] == [second["digest"]]
    moment = "2026-01-02T03:04:05Z"
    assert lines[3] == {"vertexes": [{**second, "started": moment}]}
    log = {"vertex": second["digest"], "stream": 2, "data": base64.b64encode(b"\xff\n").decode(), "timestamp": moment}
    assert lines[4] == {"logs": [log]}
    assert lines[5] == {"vertexes": [{**second, "started": moment, "completed": moment, "cached": True}]}


def test_rawjson_tells_errors_and_warnings() -> None:
    lines = raw(plan(3), StepFailed(index=2, message="ended", seconds=1), Warned(line=2, message="quote it", rule="R"))
    assert lines[3]["vertexes"][0]["error"] == "ended"
    place = {"line": 2, "character": 0}
    short = base64.b64encode(b"R: quote it (line 2)").decode()
    assert lines[4] == {"warnings": [{"level": 1, "short": short, "range": [{"start": place, "end": place}]}]}


def test_a_second_plan_adds_its_steps() -> None:
    more = PlanReady(steps=(*plan(3).steps, PlannedStep(index=4, stage="late", line=9, text="FROM late")))
    names = [line["vertexes"][0]["name"] for line in raw(plan(3), more)]
    assert names[3:] == ["[late 4/4] FROM late"]


def test_a_log_is_told_of_a_fetch_now_and_then_and_at_its_end() -> None:
    out, now = io.StringIO(), [100.0]
    view = PlainBuildView(out, clock=lambda: now[0])
    for second in range(12):
        now[0] = 100.0 + second
        view(FetchProgress(name="https://a.example/d", current=second * 1_000_000, total=12_000_000))
    view(FetchProgress(name="https://a.example/d", current=12_000_000, total=12_000_000, ended=True))
    assert out.getvalue().splitlines() == [
        "#0 fetching https://a.example/d 5 MB of 12 MB",
        "#0 fetching https://a.example/d 10 MB of 12 MB",
        "#0 fetched https://a.example/d 12 MB",
    ]


@pytest.mark.parametrize("screen", [(60, 24)], indirect=True)
def test_a_terminal_shows_what_is_fetched(screen: Screen) -> None:
    with build_view("tty", screen.out) as view:
        assert isinstance(view, TerminalBuildView)
        view(plan(4))
        view(FetchProgress(name="https://a.example/w.git", current=3, total=10, unit="objects"))
        view._draw()
        assert screen.now()[1] == "=> fetching https://a.example/w.git 3 of 10 objects"
        view(FetchProgress(name="https://a.example/w.git", current=10, total=10, unit="objects", ended=True))
        view(ImageDone(image_id=IMAGE, tags=()))
    screen.close()
    assert not any("a.example" in line for line in screen.text())


def test_rawjson_tells_of_a_fetch_as_a_vertex_with_a_status() -> None:
    moved = FetchProgress(name="https://a.example/d", current=5, total=9)
    lines = raw(moved, FetchProgress(name=moved.name, current=9, total=9, ended=True))
    assert lines[0]["vertexes"][0]["name"] == moved.name
    assert [line["statuses"][0]["current"] for line in lines[1::2]] == [5, 9]
    assert lines[3]["statuses"][0]["completed"] == lines[2]["vertexes"][0]["completed"]

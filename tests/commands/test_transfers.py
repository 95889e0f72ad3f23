"""What a transfer shows: the state that all faces draw, the lines of a file, the block of a terminal."""

from __future__ import annotations

import io

import pytest

from notebook_containers.commands.transfer_views import PlainTransferView, TerminalTransferView, stream_view
from notebook_containers.commands.transfers import TransferState, Verb
from notebook_containers.oci.image import Digest
from notebook_containers.registry.progress import (
    BlobProgress,
    Phase,
    StreamProgress,
    TransferDone,
    TransferEvent,
    TransferNote,
    TransferStarted,
)
from tests.commands.screen import Screen

ATTACK = "\x1b]52;c;eA==\x07\x1b[2Jevil\u202e"
LAYERS = [Digest.of(str(number).encode()) for number in range(40)]
MB = 1_000_000


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def began(name: str = "reg/a:1", *, direction: Verb = "pull") -> TransferStarted:
    assert direction in ("pull", "push", "load", "save")
    return TransferStarted(name=name, direction=direction, platform="linux/amd64")


def layer(number: int, phase: Phase, done: int = 0, total: int = 40 * MB, rate: float = 0.0) -> BlobProgress:
    return BlobProgress(digest=LAYERS[number], phase=phase, done=done, total=total, rate=rate)


def ended(name: str = "reg/a:1", *, changed: bool = True) -> TransferDone:
    return TransferDone(name=name, manifest=LAYERS[0], changed=changed)


def state(*events: TransferEvent, verb: Verb = "pull", clock: Clock | None = None) -> TransferState:
    made = TransferState(verb, "reg/a:1", clock=clock or Clock())
    for event in events:
        made.take(event)
    return made


def test_the_sentence_says_how_far_it_is() -> None:
    made = state()
    assert made.sentences() == ["Pulling reg/a:1"]
    for event in (began(), layer(0, "exists", 10 * MB, 10 * MB), layer(1, "downloading", 20 * MB, rate=8e6), layer(2, "waiting")):
        made.take(event)
    assert made.sentences() == ["Pulling reg/a:1 (linux/amd64): 1 of 3 layers, 30 MB of 90 MB, 8 MB/s"]
    assert made.total_share() == pytest.approx(1 / 3)
    assert [part.amount() for part in made.parts()] == ["10 MB", "20 MB of 40 MB", "40 MB"]


def test_the_sentence_says_what_was_moved_and_what_was_there() -> None:
    clock = Clock()
    made = state(began(), layer(0, "exists"), layer(1, "done"), clock=clock)
    clock.now += 3.2
    made.take(ended())
    made.end(None)
    assert made.sentences() == ["Pulled reg/a:1 in 3.2 s: 2 layers, 1 moved (40 MB), 1 already here"]
    same = state(began(), layer(0, "exists"), ended(changed=False))
    assert same.sentences() == ["reg/a:1 is up to date: 1 layer"]
    pushed = state(began(direction="push"), layer(0, "mounted"), layer(1, "done"), ended(), verb="push")
    assert pushed.sentences() == ["Pushed reg/a:1 in 0 ms: 2 layers, 1 moved (40 MB), 1 already there"]


def test_several_images_follow_each_other() -> None:
    made = state(began("a:1"), layer(0, "done"), ended("a:1"), began("a:2"), layer(0, "exists"), layer(1, "downloading", 1))
    assert made.sentences()[0] == "Pulled a:1 in 0 ms: 1 layer, 40 MB"
    assert made.sentences()[1].startswith("Pulling a:2 (linux/amd64): 1 of 2 layers")
    assert len(made.parts()) == 2


def test_a_failure_stops_what_moves_and_keeps_what_is_done() -> None:
    made = state(began(), layer(0, "done"), layer(1, "downloading", 5))
    made.end(KeyboardInterrupt())
    assert [part.phase for part in made.parts()] == ["done", "stopped"]
    assert made.sentences() == ["reg/a:1: stopped after 0 ms: interrupted"]


def test_jup04_names_and_notes_cannot_control_the_terminal() -> None:
    made = state(began(ATTACK), TransferNote(message=ATTACK), StreamProgress(name=ATTACK, phase="reading"))
    made.end(ValueError(ATTACK))
    shown = "".join([*made.sentences(), *made.notes, *(part.name for part in made.parts())])
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_file_gets_few_lines() -> None:
    out, clock = io.StringIO(), Clock()
    with PlainTransferView(state(clock=clock), out, clock=clock) as view:
        view(began())
        view(layer(0, "waiting"))
        view(layer(1, "waiting"))
        assert out.getvalue() == ""
        for done in range(1, 13):
            view(layer(0, "downloading", done * MB, rate=1e6))
            clock.now += 1
        view(layer(0, "extracting", 40 * MB))
        view(layer(0, "done", 40 * MB))
        view(layer(1, "exists", 40 * MB))
        view(ended())
    short = [digest.short for digest in LAYERS]
    assert out.getvalue().splitlines() == [
        "Pulling reg/a:1 (linux/amd64)",
        f"{short[0]}: downloading 1 MB of 40 MB 1 MB/s",
        f"{short[0]}: downloading 6 MB of 40 MB 1 MB/s",
        f"{short[0]}: downloading 11 MB of 40 MB 1 MB/s",
        f"{short[0]}: done 40 MB in 12.0s",
        f"{short[1]}: exists 40 MB",
        "Pulled reg/a:1 in 12.0 s: 2 layers, 1 moved (40 MB), 1 already here",
    ]


def test_a_file_is_told_nothing_of_what_fails_at_once() -> None:
    out = io.StringIO()

    def fail() -> None:
        with PlainTransferView(state(), out, clock=Clock()) as view:
            view(began())
            view(layer(0, "waiting"))
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        fail()
    assert out.getvalue() == ""


@pytest.mark.parametrize("screen", [(100, 24)], indirect=True)
def test_a_terminal_has_one_line_a_layer(screen: Screen) -> None:
    with stream_view("pull", "reg/a:1", screen.out) as view:
        assert isinstance(view, TerminalTransferView)
        for event in (began(), layer(0, "downloading", 10 * MB, rate=2e6), layer(1, "waiting")):
            view(event)
        view._draw()
        view(layer(0, "done", 40 * MB))
        view(layer(1, "exists", 40 * MB))
        view(ended())
    screen.close()
    first, second, sentence, last = screen.text()
    assert first == f"{LAYERS[0].short}  done         [{'=' * 24}]  40 MB"
    assert second.split() == [LAYERS[1].short, "exists", "40", "MB"]
    assert sentence.startswith("Pulled reg/a:1 in ")
    assert last == ""


@pytest.mark.parametrize("screen", [(40, 8)], indirect=True)
def test_a_small_terminal_is_never_overfull(screen: Screen) -> None:
    with stream_view("pull", "reg/a:1", screen.out) as view:
        view(began())
        for number in range(40):
            view(layer(number, "waiting"))
        view(layer(30, "downloading", 10 * MB, rate=2e6))
        assert isinstance(view, TerminalTransferView)
        view._draw()
        screen_is = view.state.parts()
        assert len(screen_is) == 40
    screen.close()
    shown = screen.text()
    assert len(shown) <= 8
    assert shown[-3] == "… and 35 more"
    assert any(LAYERS[30].short in line for line in shown)


@pytest.mark.parametrize("screen", [(80, 24)], indirect=True)
def test_a_terminal_shows_nothing_of_what_fails_at_once(screen: Screen) -> None:
    def fail() -> None:
        with stream_view("pull", "reg/a:1", screen.out) as view:
            assert isinstance(view, TerminalTransferView)
            view._draw()
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        fail()
    screen.close()
    assert screen.text() == [""]


@pytest.mark.parametrize("screen", [(80, 24)], indirect=True)
def test_a_terminal_that_cannot_move_gets_lines(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(stream_view("pull", "a", screen.out), PlainTransferView)

"""What is shown of text from outside (JUP-03, JUP-04)."""

from __future__ import annotations

import tracemalloc

import pytest

from notebook_containers.commands.text import LineFilter, one_line, plain, term


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("plain\ttext\nline", "plain\ttext\nline"),
        ("\x1b]52;c;ZXZpbA==\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1bP+q544e\x1b\\x", "x"),
        ("\x9d0;title\x9cx", "x"),
        ("\x1b[2J\x1b[1;1Hx\x1b[1A", "x"),
        ("\x9b2Jx", "x"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("10%\r20%\r30%\ndone\r\n", "30%\ndone\n"),
        ("N\x08NA\x08A", "NA"),
        ("a\x00b\x07c\x7fd\x85e", "abcde"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\x1b]0;never ended\nnext line", "\nnext line"),
        ("\x1b]0;never ended", ""),
        ("\x1b[12", ""),
        ("\x1b", ""),
        ("\x1b(Bx\x1bcx", "xx"),
        ("\ud800x", "\ufffdx"),
        ("zażółć 👩‍🔬 漢字", "zażółć 👩‍🔬 漢字"),
    ],
)
def test_jup04_plain_leaves_no_control_sequence(dirty: str, clean: str) -> None:
    assert plain(dirty) == clean


def test_jup04_term_keeps_colours_only_and_ends_them() -> None:
    assert term("\x1b[31mred\x1b[2J\x1b]52;c;eA==\x07") == "\x1b[31mred\x1b[0m"
    assert term("\x1b[1;38;5;200mx\x1b[0m") == "\x1b[1;38;5;200mx\x1b[0m"
    assert term("\x1b[" + "1;" * 100 + "mx") == "x"


def test_jup04_invalid_utf8_is_replaced() -> None:
    assert plain(b"\xff\xfeok") == "\ufffd\ufffdok"


def test_jup04_a_million_colours_are_cut_to_the_limit() -> None:
    assert len(term("\x1b[31mx" * 1_000_000, limit=1000)) < 1100
    assert plain("x" * 50, limit=10) == "x" * 10 + "… (40 more characters)"


def test_a_cut_never_leaves_half_a_sequence() -> None:
    for limit in range(1, 12):
        rest = term("ab\x1b[31mcd\x1b[32mef", limit=limit).replace("\x1b[31m", "").replace("\x1b[32m", "").replace("\x1b[0m", "")
        assert "\x1b" not in rest


def test_one_line_collapses_and_cuts() -> None:
    assert one_line("RUN  a \\\n  b\tc") == "RUN a \\ b c"
    assert one_line("x" * 20, limit=5) == "xxxx…"


@pytest.mark.parametrize("width", [1, 2, 3, 7, 1000])
def test_lines_are_the_same_however_the_stream_is_cut(width: int) -> None:
    stream = "één\x1b[31m rood\x1b[0m\n\x1b]52;c;eA==\x07zwei\r\nbar 1\rbar 2\rbar 3\nlast".encode()
    lines = LineFilter()
    got = [line for at in range(0, len(stream), width) for line in lines.feed(stream[at : at + width])]
    assert lines.current == "last"
    assert [*got, *lines.close()] == ["één rood", "zwei", "bar 3", "last"]
    assert lines.close() == []


def test_the_unfinished_line_can_be_seen() -> None:
    lines = LineFilter()
    assert lines.feed(b"  5%\r 10%") == []
    assert lines.current == " 10%"


def test_jup04_memory_is_flat_without_a_newline() -> None:
    lines = LineFilter()
    chunk = b"x" * 65536
    tracemalloc.start()
    got = [line for _ in range(64) for line in lines.feed(chunk)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert len(got) == 1
    assert "more characters" in got[0]
    assert lines.feed(b"tail of it\nnext\n") == ["next"]

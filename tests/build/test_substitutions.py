"""Pattern substitutions against regular expressions as the oracle, and their time."""

from __future__ import annotations

import re
import time

from hypothesis import given, settings, strategies as st

from notebook_containers.build.substitutions import literal, replaced, without_prefix, without_suffix

TEXT = st.text(alphabet="ab/.*\\", max_size=12)
PATTERN = st.lists(st.sampled_from(["a", "b", "/", ".", "*", "?", "\\*", "\\\\"]), max_size=6).map("".join)


def expression(pattern: str, many: str) -> str:
    out, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
            out += re.escape(pattern[at])
        else:
            out += {"*": many, "?": "."}.get(char, re.escape(char))
        at += 1
    return out


@settings(deadline=None)
@given(TEXT, PATTERN)
def test_prefixes_are_those_that_a_regular_expression_finds(value: str, pattern: str) -> None:
    cuts = [n for n in range(len(value) + 1) if re.fullmatch(expression(pattern, ".*"), value[:n], re.DOTALL)]
    assert without_prefix(value, pattern, longest=False) == value[min(cuts, default=0) :]
    assert without_prefix(value, pattern, longest=True) == value[max(cuts, default=0) :]


@settings(deadline=None)
@given(TEXT, PATTERN)
def test_suffixes_are_those_that_a_regular_expression_finds(value: str, pattern: str) -> None:
    cuts = [n for n in range(len(value) + 1) if re.fullmatch(expression(pattern, ".*"), value[len(value) - n :], re.DOTALL)]
    assert without_suffix(value, pattern, longest=False) == value[: len(value) - min(cuts, default=0)]
    assert without_suffix(value, pattern, longest=True) == value[: len(value) - max(cuts, default=0)]


def longest_at(value: str, begin: int, pattern: str) -> int:
    ends = range(len(value), begin, -1)
    return next((e for e in ends if re.fullmatch(expression(pattern, ".*"), value[begin:e], re.DOTALL)), -1)


def by_trying(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    out, at = "", 0
    while at < len(value):
        end = longest_at(value, at, pattern) if pattern else -1
        if end < 0:
            out, at = out + value[at], at + 1
            continue
        out, at = out + replacement, end
        if not everywhere:
            break
    return out + value[at:]


@settings(deadline=None)
@given(TEXT, PATTERN, st.booleans())
def test_replacing_takes_the_leftmost_longest_match(value: str, pattern: str, everywhere: bool) -> None:
    assert replaced(value, pattern, "<>", everywhere=everywhere) == by_trying(value, pattern, "<>", everywhere=everywhere)


@given(TEXT)
def test_a_literal_matches_itself_alone(text: str) -> None:
    assert without_prefix(text + "x", literal(text), longest=True) == "x"


def test_no_pattern_is_slow() -> None:
    value, pattern = "a" * 3000, "*a" * 30 + "*b"
    began = time.process_time()
    for work in (without_prefix, without_suffix):
        assert work(value, pattern, longest=True) == value
    assert replaced(value, pattern, "", everywhere=True) == value
    # A backtracking matcher would not end; the bound is wide because machines differ.
    assert time.process_time() - began < 30

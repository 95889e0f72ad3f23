"""Whatever text comes in, reading it ends, and ends in a value or in one of this package's errors (BLD-11, BLD-01)."""

from __future__ import annotations

import fnmatch
import re

from hypothesis import example, given, settings, strategies as st

from notebook_containers.build.parser import KEYWORDS
from notebook_containers.build.patterns import Automaton

from . import oracles

_PIECES = st.sampled_from(
    [
        *KEYWORDS,
        *" \t\n\r\\\"'`$#{}[]<>=:-?+/*,.@",
        "FROM a\n",
        "<<EOF",
        "\nEOF\n",
        "<<-'E'",
        "${a:-",
        "${b}",
        "--from=",
        "--chown=1:2 ",
        "a",
        "1",
    ]
)
TEXTS = st.lists(_PIECES, max_size=60).map("".join)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
@example("FROM a\nRUN <<A <<B <<A\nA\nB\nA\n")
@example("FROM a\nENV x=${A:-${A:-${A}}}\n")
@example("# escape=\\\n# escape=`\nFROM a")
@example("FROM a\nONBUILD ONBUILD RUN x")
def test_bld11_any_text_is_read_or_refused(text: str) -> None:
    oracles.dockerfile(text)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_any_word_is_expanded_or_refused(text: str) -> None:
    oracles.word(text)


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?/.", max_size=12), st.text("ab/.", max_size=12))
def test_patterns_agree_with_fnmatch_inside_one_name(pattern: str, text: str) -> None:
    name, plain = text.replace("/", ""), pattern.replace("/", "")
    expected = re.fullmatch(fnmatch.translate(plain), name) is not None
    assert Automaton([plain], deep=False).matches(name) is expected


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?/.![]-\\ \n#", max_size=40), st.text("ab/.", min_size=1, max_size=12))
def test_bld01_ignore_rules_are_read_or_refused_and_walks_agree(text: str, path: str) -> None:
    oracles.ignored(text, path)

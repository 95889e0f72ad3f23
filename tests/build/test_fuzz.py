"""Whatever text comes in, reading it ends, and ends in a value or in one of this package's errors (BLD-11, BLD-01)."""

from __future__ import annotations

import fnmatch
import re

from hypothesis import example, given, settings, strategies as st

from notebook_containers.build.ignore import read_rules
from notebook_containers.build.interpret import read
from notebook_containers.build.parser import KEYWORDS
from notebook_containers.build.patterns import Automaton, PatternError
from notebook_containers.build.planning import make_plan
from notebook_containers.build.stages import cut
from notebook_containers.build.words import WordError, expand
from notebook_containers.errors import Error, SourceError

from . import dump

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
    err = _plan(text)
    if err is not None and err.line:
        assert 1 <= err.line <= text.count("\n") + 1
        assert err.excerpt()
    assert err is None or err.message == err.message.strip()


def _plan(text: str) -> SourceError | None:
    try:
        stages = cut(read(text)[1], build_args={}, platform=dump.PLATFORM)
        goal = stages.target("")
        images = {o.image: dump.BASE for s in stages.needed(goal) for o in (s.base, *s.origins.values()) if o.image}
        make_plan(stages, goal, images, {})
    except SourceError as err:
        return err
    except Error:
        return None
    return None


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_any_word_is_expanded_or_refused(text: str) -> None:
    refused = None
    try:
        result = expand(text, {"a": "1", "b": "x y"})
    except WordError as err:
        refused = err
    if refused is not None:
        assert 0 <= refused.offset <= len(text)
    else:
        assert "".join("".join(result.words).split()) == "".join(result.text.split())


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?/.", max_size=12), st.text("ab/.", max_size=12))
def test_patterns_agree_with_fnmatch_inside_one_name(pattern: str, text: str) -> None:
    name, plain = text.replace("/", ""), pattern.replace("/", "")
    expected = re.fullmatch(fnmatch.translate(plain), name) is not None
    assert Automaton([plain], deep=False).matches(name) is expected


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?/.![]-\\ \n#", max_size=40), st.text("ab/.", min_size=1, max_size=12))
def test_ignore_rules_are_read_or_refused_and_walks_agree(text: str, path: str) -> None:
    try:
        rules = read_rules(text.encode())
    except (Error, PatternError):
        return
    whole = rules.rule_for(path) is not None
    state = rules.start
    for number, part in enumerate(path.split("/")):
        state = rules.enter(rules.enter(state, "/") if number else state, part)
    assert rules.excluded(state) is whole

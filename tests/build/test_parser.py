"""Places, directives, continuations, here-documents and refusals of the parser; whole files are in the golden folders."""

from __future__ import annotations

import pytest

from notebook_containers.build.instructions import Copy, Run
from notebook_containers.build.interpret import instruction, interpret
from notebook_containers.build.parser import MAX_BYTES, parse
from notebook_containers.errors import DockerfileError


def failure(text: str) -> DockerfileError:
    with pytest.raises(DockerfileError) as info:
        interpret(parse(text))
    return info.value


def test_unknown_instruction_gets_a_suggestion() -> None:
    err = failure("FROM scratch\n  COPPY a b\n")
    assert (err.line, err.column, err.length) == (2, 3, 5)
    assert err.message == "unknown instruction COPPY"
    assert err.hint == "did you mean COPY?"
    assert err.excerpt() == "   2 |   COPPY a b\n         ^^^^^"


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("", 0, 0, "no instruction"),
        ("# only a comment\n", 0, 0, "no instruction"),
        ("FROM a b\n", 1, 8, "unexpected 'b'"),
        ("FROM a AS 1x\n", 1, 11, "no stage name"),
        ("FROM a\nRUN \\\n  --mount=type=cash,target=/x \\\n  true\n", 3, 3, "no type 'cash'"),
        ("FROM a\nRUN --mont=x true\n", 2, 5, "no flag --mont"),
        ("FROM a\nCOPY --form=b x y\n", 2, 6, "no flag --form"),
        ("FROM a\nCOPY x\n", 2, 1, "source and a destination"),
        ("FROM a\nENV x\n", 2, 5, "no value"),
        ("FROM a\nENV x=1 \\\n  y\n", 3, 3, "no = in it"),
        ("FROM a\nENV =1\n", 2, 5, "empty"),
        ("FROM a\nRUN\n", 2, 1, "needs a command"),
        ("FROM a\nSHELL /bin/sh -c\n", 2, 7, "JSON list"),
        ("FROM a\nONBUILD FROM b\n", 2, 9, "ONBUILD"),
        ("FROM a\nHEALTHCHECK --interval=3x CMD true\n", 2, 13, "no duration"),
        ("FROM a\nHEALTHCHECK PING\n", 2, 13, "neither"),
        ("FROM a\nRUN <<EOF\necho\n", 2, 5, "ends this here-document"),
        ("# escape=\\\n# escape=`\nFROM a\n", 2, 1, "twice"),
        ("# escape=x\nFROM a\n", 1, 10, "no escape character"),
        ("FROM a\nRUN x\0y\n", 2, 6, "NUL"),
        ("FROM a\nSTOPSIGNAL A B\n", 2, 14, "one argument"),
    ],
)
def test_refusals_point_at_the_word(text: str, line: int, column: int, words: str) -> None:
    err = failure(text)
    assert words in err.message
    assert (err.line, err.column) == (line, column)


def test_too_large_a_text_is_refused_at_once() -> None:
    assert "more than" in failure("#" * (MAX_BYTES + 1)).message


def test_a_long_line_is_linear() -> None:
    assert len(parse("FROM a\nRUN " + "x " * 500_000).nodes[1].text) == len("RUN") + 2 * 500_000


def test_places_through_continuations() -> None:
    node = parse("FROM a\nRUN one \\\n# remark\n\n   two\n").nodes[1]
    assert node.text == "RUN one    two"
    assert (node.line, node.end_line) == (2, 5)
    assert node.place(node.text.index("two")) == (5, 4)


def test_escaped_escape_does_not_continue() -> None:
    nodes = parse("FROM a\nRUN echo \\\\\nRUN x\n").nodes
    assert [n.text for n in nodes[1:]] == ["RUN echo \\\\", "RUN x"]


def test_crlf_and_bom_and_backtick() -> None:
    text = "\ufeff# escape=`\r\nFROM a\r\nRUN dir `\r\n c:\\\r\n"
    nodes = parse(text).nodes
    assert [n.text for n in nodes] == ["FROM a", "RUN dir  c:\\"]


def test_directives_end_at_the_first_other_line() -> None:
    dockerfile = parse("# syntax=docker/dockerfile:1\n# hello\n# escape=`\nFROM a\n")
    assert dockerfile.directives == {"syntax": "docker/dockerfile:1"}
    assert dockerfile.escape == "\\"
    assert dockerfile.remarks[0][0] == 1


def test_heredocs() -> None:
    text = "FROM a\nCOPY <<-one <<'two' /dst/\n\tx $A\n\tone\n\ty $A\ntwo\nRUN cat\n"
    nodes = parse(text).nodes
    assert [(h.name, h.content, h.expand, h.line) for h in nodes[1].heredocs] == [("one", "x $A\n", True, 3), ("two", "\ty $A\n", False, 5)]
    copy = instruction(nodes[1])
    assert isinstance(copy, Copy)
    assert [h.name for h in copy.inline] == ["one", "two"]
    assert copy.sources == ()
    assert nodes[2].line == 7


def test_quoted_heredoc_words_are_words() -> None:
    run = instruction(parse('FROM a\nRUN echo "<<EOF" $((1<<2))\n').nodes[1])
    assert isinstance(run, Run)
    assert run.heredocs == ()


def test_json_form_must_be_strings() -> None:
    run = instruction(parse('FROM a\nRUN ["a", 1]\n').nodes[1])
    assert isinstance(run, Run)
    assert run.command.in_shell


def test_lone_escapes_before_an_instruction() -> None:
    nodes = parse("\\\n\\\n  FROM a\n\\").nodes
    assert [(n.text, n.line, n.place(0)) for n in nodes] == [("FROM a", 1, (3, 3))]

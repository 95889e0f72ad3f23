"""ENV: pairs and the old form, values that use others, one value through one instruction; it reaches RUN and the container."""

from __future__ import annotations

from .conftest import Builds


def test_pairs_and_the_old_form(builds: Builds) -> None:
    built = builds('FROM base\nENV A=1 B=\'two words\' C="x\\"y"\nENV OLD  form  with blanks\nENV EMPTY=\n')
    wanted = {"A": "1", "B": "two words", "C": 'x"y', "OLD": "form  with blanks", "EMPTY": ""}
    assert {name: built.env[name] for name in wanted} == wanted


def test_one_value_through_one_instruction(builds: Builds) -> None:
    built = builds("FROM base\nENV A=old\nENV A=new B=$A\nENV C=$A\n")
    assert (built.env["A"], built.env["B"], built.env["C"]) == ("new", "old", "new")


def test_run_and_the_container_see_it(builds: Builds) -> None:
    built = builds('FROM base\nENV A="a  b" PATH=/opt:$PATH\nRUN echo "$A"\n', run=["sh", "-c", 'echo "$A"'])
    assert built.said == built.answer["printed"] == "a  b\n"
    assert built.env["PATH"].startswith("/opt:/")


def test_what_is_not_set_is_empty_with_a_warning(builds: Builds) -> None:
    built = builds("FROM base\nENV GREETING=x\nENV A=$GREETNG B=${NONE:-default} C=${GREETING:+set}\n")
    assert (built.env["A"], built.env["B"], built.env["C"]) == ("", "default", "set")
    assert built.warnings == [[3, "UndefinedVar", "the variable $GREETNG is not set; did you mean $GREETING?"]]


def test_a_value_that_must_be_there(builds: Builds) -> None:
    refused = builds.refused('FROM base\nENV A="${B:?say which}"\n')
    assert (refused.line, "B: say which" in refused.message) == (2, True)
    assert "not closed" in builds.refused("FROM base\nENV A='x\n").message

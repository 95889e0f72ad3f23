"""The word rules, case by case; the right column is what the Dockerfile reference (or its shell ancestor) says."""

from __future__ import annotations

import pytest

from notebook_containers.build.words import WordError, expand, expand_heredoc, split

VARIABLES = {"a": "1", "b": "two words", "empty": "", "HOME": "/root", "f": "foobarbar.tar.gz", "star": "a*b*c", "slash": "a/b/c"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$a", "1"),
        ("${a}", "1"),
        ("x$a.y", "x1.y"),
        ("${a}2", "12"),
        ("$unset", ""),
        ("\\$a", "$a"),
        ("'$a'", "$a"),
        ('"$a"', "1"),
        ('"\\$a"', "$a"),
        ('"a\\b"', "a\\b"),
        ('"a\\"b"', 'a"b'),
        ("a\\ b", "a b"),
        ("he'll'o", "hello"),
        ("it\\'s", "it's"),
        ("$", "$"),
        ("$.", "$."),
        ("a$", "a$"),
        ("${unset:-d}", "d"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${a:-d}", "1"),
        ("${a:+set}", "set"),
        ("${unset:+set}", ""),
        ("${empty+set}", "set"),
        ("${empty:+set}", ""),
        ("${unset-${a}}", "1"),
        ("${unset:-${other:-$a}}", "1"),
        ("${unset:-'a}b'}", "a}b"),
        ("${a:?must}", "1"),
        ("$1x", "x"),
        ("$a$b", "1two words"),
        ("trailing\\", "trailing"),
        ("${a:-\\}}", "1"),
        ("${unset:-\\}}", "}"),
        ("${f#foo}", "barbar.tar.gz"),
        ("${f#f*b}", "arbar.tar.gz"),
        ("${f##f*b}", "ar.tar.gz"),
        ("${f#bar}", "foobarbar.tar.gz"),
        ("${f%.*}", "foobarbar.tar"),
        ("${f%%.*}", "foobarbar"),
        ("${f%x}", "foobarbar.tar.gz"),
        ("${f#???}", "barbar.tar.gz"),
        ("${f#*}", "foobarbar.tar.gz"),
        ("${f##*}", ""),
        ("${f%%*}", ""),
        ("${f/bar/X}", "fooXbar.tar.gz"),
        ("${f//bar/X}", "fooXX.tar.gz"),
        ("${f//bar}", "foo.tar.gz"),
        ("${f/b*r/X}", "fooX.gz"),
        ("${f//?/x}", "xxxxxxxxxxxxxxxx"),
        ("${f//[.]/x}", "foobarbar.tar.gz"),
        ("${f//./$a}", "foobarbar1tar1gz"),
        ("${f/bar/a/b}", "fooa/bbar.tar.gz"),
        ("${slash//\\//_}", "a_b_c"),
        ("${slash##*/}", "c"),
        ("${slash%/*}", "a/b"),
        ("${star#a\\*}", "b*c"),
        ("${star//'*'/-}", "a-b-c"),
        ('${star//"*"/-}', "a-b-c"),
        ("${f//${unset:-bar}/X}", "fooXX.tar.gz"),
        ("${f//nothing/X}", "foobarbar.tar.gz"),
        ("${f///X}", "foobarbar.tar.gz"),
        ("${unset#x}", ""),
        ("${empty//x/y}", ""),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, VARIABLES).text == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b", ("a", "b")),
        ("$b", ("two", "words")),
        ('"$b"', ("two words",)),
        ("a\\ b c", ("a b", "c")),
        ("x$b", ("xtwo", "words")),
        ("", ()),
    ],
)
def test_words_are_split_outside_quotes(text: str, words: tuple[str, ...]) -> None:
    assert expand(text, VARIABLES).words == words


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("a'b", "single quote", 1),
        ('ab"c', "double quote", 2),
        ("x${a", "closes", 1),
        ("x${a:-b", "closes", 1),
        ("${}", "bad substitution", 0),
        ("${{a}", "bad substitution", 0),
        ("${a^b}", "unsupported modifier", 0),
        ("x${a#b", "closes", 1),
        ("x${a/b/c", "closes", 1),
        ("x${a/b", "closes", 1),
        ("x${unset:?say this}", "unset: say this", 1),
        ("${empty:?}", "empty: may not be empty", 0),
        ("${unset?}", "unset: may not be unset", 0),
    ],
)
def test_wrong_words_say_where(text: str, message: str, offset: int) -> None:
    with pytest.raises(WordError) as info:
        expand(text, VARIABLES)
    assert message in info.value.message
    assert info.value.offset == offset


def test_unset_variables_are_reported_once() -> None:
    assert expand("$x $y ${x}", {}).unset == ("x", "y")


def test_other_escape_character() -> None:
    assert expand("c:\\x`$a", VARIABLES, escape="`").text == "c:\\x$a"


def test_nesting_is_bounded() -> None:
    deep = "${x:-" * 20_000 + "}" * 20_000
    with pytest.raises(WordError, match="nested"):
        expand(deep, {})


def test_heredoc_text_keeps_quotes() -> None:
    assert expand_heredoc("say \"$a\" '$a' \\$a \\n ${unset:-d}\n", VARIABLES).text == "say \"1\" '1' $a \\n d\n"


def test_split_keeps_quotes_and_offsets() -> None:
    words = split("a 'b c' d\\ e")
    assert [(w.text, w.offset) for w in words] == [("a", 0), ("'b c'", 2), ("d\\ e", 8)]

"""Compose text to data: the core schema, variables, places in errors, and what is refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings, strategies as st

from notebook_containers.compose.loader import Source, load
from notebook_containers.errors import ComposeError
from notebook_containers.oci.documents import JSON


def value(text: str, **variables: str) -> JSON:
    """Return the value of ``v`` in a file."""
    return load(f"v: {text}\n", variables=variables).data["v"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22:22", "22:22"),
        ("1_000", "1_000"),
        ("0o17", "0o17"),
        ("017", 17),
        ("0x10", "0x10"),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", "1e3"),
        ("1.0e3", 1000.0),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-01-02", "2026-01-02"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("<<", "<<"),
        ("[a, 1]", ["a", 1]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_the_core_schema(text: str, expected: JSON) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "a"),
        ("${A}", "a"),
        ("x${A}y", "xay"),
        ("$A$A", "aa"),
        ("$$A", "$A"),
        ("$${A}", "${A}"),
        ("${UNSET}", ""),
        ("${UNSET-word}", "word"),
        ("${UNSET:-word}", "word"),
        ("${EMPTY-word}", ""),
        ("${EMPTY:-word}", "word"),
        ("${A:-word}", "a"),
        ("${A+word}", "word"),
        ("${A:+word}", "word"),
        ("${UNSET+word}", ""),
        ("${EMPTY:+word}", ""),
        ("${EMPTY+word}", "word"),
        ("${A?needed}", "a"),
        ("${A:?needed}", "a"),
        ("${UNSET:-${A}}", "a"),
        ("${UNSET:-x${EMPTY:-y}z}", "xyz"),
        ("${N}", "12"),
    ],
)
def test_variables(text: str, expected: str) -> None:
    assert value(text, A="a", EMPTY="", N="12") == expected


def test_a_variables_value_is_never_parsed_again() -> None:
    assert value("$EVIL", EVIL="{a: b}\nc: d $A ${A}", A="x") == "{a: b}\nc: d $A ${A}"


@pytest.mark.parametrize(("text", "says"), [("${A?}", "A"), ("${A:?set me}", "set me"), ("${A?please}", "please")])
def test_a_variable_that_must_be_set(text: str, says: str) -> None:
    with pytest.raises(ComposeError, match="A") as caught:
        load(f"services:\n  web:\n    image: {text}\n")
    assert says in caught.value.message
    assert (caught.value.line, caught.value.column) == (3, 5)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["${A", "${}", "${1x}", "${A!x}", "100$", "$1", "$ {A}", "${A:-${B}", "${A-" * 40])
def test_a_malformed_variable_is_an_error_at_its_place(text: str) -> None:
    with pytest.raises(ComposeError) as caught:
        load(f'services:\n  web:\n    image: "{text}"\n', variables={"A": "a"})
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("services:\n  web:\n    image: a\n    image: b\n", 4, "services.web.image"),
        ("a: 1\nb: [\n", 3, ""),
        ("a: 1\n\tb: 2\n", 2, ""),
        ("a: b: c\n", 1, ""),
        ("a: !!python/object/apply:os.system [x]\n", 1, "python"),
        ("a: !reset x\n", 1, "!reset"),
        ("a: &x [*x]\n", 1, ""),
        ("a: *nothing\n", 1, "nothing"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, line: int, says: str) -> None:
    with pytest.raises(ComposeError) as caught:
        load(text, name="my.yaml")
    assert caught.value.line == line
    assert caught.value.message.startswith(f"my.yaml:{line}:")
    assert says in caught.value.message
    assert "\n" not in caught.value.one_line()


@pytest.mark.parametrize("text", ["", "[]", "word", "---\n", "a: 1\n---\nb: 2\n", "1: x\n- y\n"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ComposeError):
        load(text)


def test_anchors_aliases_and_merges() -> None:
    text = "x-base: &base {a: 1, b: 2}\nv:\n  <<: *base\n  b: 3\nw:\n  <<: [*base, {a: 9, c: 4}]\n"
    data = load(text).data
    assert data["v"] == {"a": 1, "b": 3}
    assert data["w"] == {"a": 1, "b": 2, "c": 4}


def test_an_alias_bomb_is_refused_at_once() -> None:
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))
    begun = time.monotonic()
    with pytest.raises(ComposeError, match="too large"):
        load(f"a0: &a0 x\n{levels}\n")
    assert time.monotonic() - begun < 5


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ComposeError):
        load("a: " + "[" * 5000 + "]" * 5000)


def test_places_of_keys_and_items() -> None:
    source = load("services:\n  web:\n    ports:\n      - 1\n      - 2\n")
    assert isinstance(source, Source)
    assert source.places["services.web"] == (2, 3)
    assert source.places["services.web.ports[1]"] == (5, 9)
    error = source.error("services.web.ports[1]", "wrong")
    assert "^" in error.excerpt()
    assert error.source == "      - 2"
    assert source.error("services.web.nothing.here", "x").line == 2


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab: -[]{}&*!<>|'\"\n\t$#,?%@0", max_size=60))
def test_any_text_is_data_or_a_compose_error(text: str) -> None:
    try:
        load(text)
    except ComposeError:
        return

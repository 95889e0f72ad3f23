"""Compose text to nodes: the core schema, variables, places in errors, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from notebook_containers.compose import yamltext
from notebook_containers.compose.interpolation import fill_tree
from notebook_containers.compose.nodes import Node, leaves, plain
from notebook_containers.compose.variables import Layer, Variables
from notebook_containers.errors import ComposeError
from notebook_containers.oci.documents import JSON


def load(text: str, *, name: str = "compose.yaml", variables: dict[str, str] | None = None) -> Node:
    """Return a file's only document with its variables filled in."""
    (document,) = yamltext.parse(text, name=name)
    return fill_tree(document, Variables([Layer(source="environment", values=variables or {})]))


def value(text: str, **variables: str) -> JSON:
    """Return the value of ``v`` in a file."""
    return plain(load(f"v: {text}\n", variables=variables).fields["v"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22:22", "22:22"),
        ("1_000", "1_000"),
        ("0o17", 15),
        ("017", 17),
        ("0x10", 16),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
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
    assert (caught.value.line, caught.value.column) == (3, 12)
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
        ("a: 1\n\tb: 2\n", 2, "a tab"),
        ("a: b: c\n", 1, ""),
        ("a: !!python/object/apply:os.system [x]\n", 1, "python"),
        ("a: !secret x\n", 1, "!secret"),
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


@pytest.mark.parametrize("text", ["", "[]", "word", "---\n", "1: x\n- y\n"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ComposeError):
        load(text)


def test_anchors_aliases_and_merges() -> None:
    text = "x-base: &base {a: 1, b: 2}\nv:\n  <<: *base\n  b: 3\nw:\n  <<: [*base, {a: 9, c: 4}]\n"
    data = plain(load(text))
    assert isinstance(data, dict)
    assert data["v"] == {"a": 1, "b": 3}
    assert data["w"] == {"a": 1, "b": 2, "c": 4}


def test_an_alias_bomb_is_refused_at_once() -> None:
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))
    with pytest.raises(ComposeError, match="too large"):  # followed to its end it would be a hundred thousand million values
        load(f"a0: &a0 x\n{levels}\n")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ComposeError):
        load("a: " + "[" * 5000 + "]" * 5000)


def test_places_of_keys_and_items() -> None:
    root = load("services:\n  web:\n    ports:\n      - 1\n      - 2\n")
    web = root.fields["services"].fields["web"]
    assert web.key is not None
    assert (web.key.line, web.key.column) == (2, 3)
    second = web.fields["ports"].items[1]
    assert (second.place.line, second.place.column) == (5, 9)
    error = second.error("services.web.ports[1]", "wrong")
    assert error.message == "compose.yaml:5:9: services.web.ports[1]: wrong"
    assert "^" in error.excerpt()
    assert error.source == "      - 2"
    assert web.error("services.web", "wrong").line == 2


def test_several_documents_are_several() -> None:
    assert [plain(one) for one in yamltext.parse("a: 1\n---\nb: 2\n---\n", name="x")] == [{"a": 1}, {"b": 2}]


def test_the_tags_of_merging_are_kept_for_it() -> None:
    root = load("a: !reset null\nb: !override [1]\nc: !reset {x: 1}\nd: !override 5\n")
    assert {key: node.mark for key, node in root.fields.items()} == {"a": "reset", "b": "override", "c": "reset", "d": "override"}
    assert plain(root) == {"a": None, "b": [1], "c": {"x": 1}, "d": 5}


@pytest.mark.parametrize("text", ["a: 0777", "a: 1.10", "a: True", "a: 1e3"])
def test_how_a_value_was_written_is_kept(text: str) -> None:
    assert load(text).fields["a"].text() == text.removeprefix("a: ").replace("True", "true")


def test_each_value_knows_the_variables_that_filled_it() -> None:
    root = load("a: $A-${B:-b}-${C-$A}\nb: ${A:+x}\nc: plain\n", variables={"A": "1"})
    told = {path: [(use.name, use.value, use.source) for use in node.place.uses] for path, node in leaves(root)}
    assert told == {
        "a": [("A", "1", "environment"), ("B", "b", "default"), ("C", "1", "default"), ("A", "1", "environment")],
        "b": [("A", "1", "environment")],
        "c": [],
    }


def test_a_word_that_is_not_taken_needs_nothing() -> None:
    assert value("${A:-${B:?needed}}", A="a") == "a"
    assert value("${A:+${B:?needed}}") == ""
    with pytest.raises(ComposeError, match="B is needed"):
        value("${A:-${B:?needed}}")


@pytest.mark.parametrize("size", [9_000_000, 40_000_000])
def test_a_text_too_large_is_refused_at_once(size: int) -> None:
    with pytest.raises(ComposeError, match="more than"):
        load("a: " + "x" * size)


@pytest.mark.parametrize("text", ["a: \0", "a: \x07", "a: \ud800", "a: \x1b[31m"])
def test_what_is_no_text_of_yaml_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ComposeError) as caught:
        load(f"x: 1\n{text}\n")
    assert "\n" not in caught.value.one_line()


@pytest.mark.parametrize(
    "text", ["- " * 3000 + "x", "a: " + "{b: " * 3000, "? " * 3000, "a:\n" + "".join(" " * i + "b:\n" for i in range(1, 900))]
)
def test_depth_costs_nothing(text: str) -> None:
    with pytest.raises(ComposeError):
        load(text)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="ab: -[]{}&*!<>|'\"\n\t$#,?%@0", max_size=60))
def test_any_text_is_data_or_a_compose_error(text: str) -> None:
    try:
        load(text)
    except ComposeError:
        return

"""Any text, any tree, any variables: a project or one ComposeError, in bounded time, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings, strategies as st

from notebook_containers.compose import dotenv, explaining, keys, showing
from notebook_containers.compose.interpolation import fill
from notebook_containers.compose.loading import Request, load
from notebook_containers.compose.merging import merged, settled
from notebook_containers.compose.nodes import Node, Place, Text, plain
from notebook_containers.compose.units import canonical_duration, nanoseconds, size
from notebook_containers.compose.variables import Layer, Variables
from notebook_containers.errors import Error, InvalidArgument
from notebook_containers.oci.documents import JSON

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that is busy is no finding."""
HERE = Path("/p")
KEYS = sorted(keys.SERVICE)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70000),
    st.sampled_from(
        [
            "",
            "x",
            "80",
            "8080:80",
            "./a:/b",
            "a:/b:ro",
            "64m",
            "1m30s",
            "db",
            "web",
            "service:db",
            "all",
            "A=1",
            "$A",
            "${A:-b}",
            "${",
            "$$",
            "yes",
        ]
    ),
    st.text(max_size=12),
)
VALUES: st.SearchStrategy[JSON] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["source", "target", "path", "command", "condition", "type", "service", "file", "soft", "a", "x-a", "db", "web"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
SERVICES = st.dictionaries(st.sampled_from([*KEYS, "imagee", "x-y"]), VALUES, max_size=4)


def told(text: str) -> str:
    """Load a text and return what is wrong with it, in one line; what is loaded is shown, explained, and read again as the same."""
    try:
        loaded(text)
    except Error as err:
        return err.one_line()
    return ""


def loaded(text: str) -> None:
    environment = {"A": "a", "E": ""}
    found = load(Request(cwd=HERE, text=text, environment=environment))
    shown = showing.shown(found)
    explaining.text(shown)
    again = load(Request(cwd=HERE, text=showing.yaml_text(showing.escaped(shown)), environment=environment, profiles=["*"]))
    assert plain(showing.shown(again)) == plain(shown)


@settings(BUSY, max_examples=150)
@given(st.text(alphabet="ab: -[]{}&*!<>|'\"\n\t$#,?%@0", max_size=80))
def test_any_text(text: str) -> None:
    assert "\n" not in told(text)


@settings(BUSY, max_examples=300)
@given(st.fixed_dictionaries({"services": st.fixed_dictionaries({"web": SERVICES, "db": st.just({"image": "x"})})}))
def test_any_service(data: dict[str, JSON]) -> None:
    assert "\n" not in told(json.dumps(data))


@settings(BUSY, max_examples=100)
@given(st.dictionaries(st.sampled_from(sorted(keys.FILE)), VALUES, max_size=4))
def test_any_file(data: dict[str, JSON]) -> None:
    assert "\n" not in told(json.dumps({"services": {"web": {"image": "x"}}, **data}))


@settings(BUSY, max_examples=300)
@given(st.text(alphabet="$ {}:-+?AE_x1", max_size=60), st.text(alphabet="$ {}\nAx", max_size=8))
def test_interpolation_of_anything(text: str, value: str) -> None:
    variables = Variables([Layer(source="environment", values={"A": value, "E": ""})])
    try:
        found = fill(text, variables)
    except InvalidArgument:
        return
    if "$" not in text:
        assert found.text == text
    assert all(use.value == {"A": value, "E": ""}.get(use.name) for use in found.uses if use.source == "environment" and ":+" not in text)


@settings(BUSY, max_examples=200)
@given(st.text(alphabet="AB= :#'\"\\\n\r\t$ {}-nx_1", max_size=60))
def test_any_file_of_variables(text: str) -> None:
    outside = Variables([Layer(source="environment", values={"A": "a"})])
    for raw in (False, True):
        layer, wrong = None, ""
        try:
            layer = dotenv.parse(text, name=".env", variables=outside, raw=raw)
        except Error as err:
            wrong = err.message
        assert wrong.startswith(".env:") or (layer is not None and all(layer.lines[name] >= 1 for name in layer.values))


@settings(BUSY, max_examples=200)
@given(st.integers(0, 10**16))
def test_a_duration_is_printed_as_what_it_is(count: int) -> None:
    assert nanoseconds(canonical_duration(f"{count}ns")) == count


@settings(BUSY, max_examples=100)
@given(st.integers(0, 2**30), st.sampled_from(["", "b", "k", "kb", "m", "MB", "g", "GiB"]))
def test_a_size_is_a_number_and_a_unit(count: int, unit: str) -> None:
    powers = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3}
    assert size(f"{count}{unit}") == count * 1024 ** powers[unit[:1].lower()]


def tree(data: JSON) -> Node:
    place = Place(text=Text(name="x"))
    if isinstance(data, dict):
        return Node(value={key: tree(one) for key, one in data.items()}, place=place)
    if isinstance(data, list):
        return Node(value=[tree(one) for one in data], place=place)
    return Node(value=data, place=place)


@settings(BUSY, max_examples=150)
@given(VALUES, VALUES)
def test_what_is_laid_over_wins_and_nothing_is_lost(base: JSON, over: JSON) -> None:
    found = plain(settled(merged(tree(base), tree(over))))
    if isinstance(base, dict) and isinstance(over, dict):
        assert isinstance(found, dict)
        assert set(found) == set(base) | set(over)
    elif isinstance(base, list) and isinstance(over, list):
        assert found == [*base, *over]
    else:
        assert found == over

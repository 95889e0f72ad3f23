"""Image names: what is one, how it is written out, and what is none (with the part that is wrong)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from notebook_containers.errors import InvalidReference
from notebook_containers.oci.reference import Reference

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("hello", "docker.io/library/hello", "hello"),
        ("hello:1.2", "docker.io/library/hello:1.2", "hello:1.2"),
        ("user/hello", "docker.io/user/hello", "user/hello"),
        ("docker.io/hello", "docker.io/library/hello", "hello"),
        ("docker.io/library/hello", "docker.io/library/hello", "hello"),
        ("index.docker.io/user/hello", "docker.io/user/hello", "user/hello"),
        ("localhost/base", "localhost/base", "localhost/base"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("example.org/a", "example.org/a", "example.org/a"),
        ("example.org:80/a", "example.org:80/a", "example.org:80/a"),
        ("[2001:db8::1]:5000/a", "[2001:db8::1]:5000/a", "[2001:db8::1]:5000/a"),
        ("Registry/a", "Registry/a", "Registry/a"),
        ("a__b/c--d/e.f_g", "docker.io/a__b/c--d/e.f_g", "a__b/c--d/e.f_g"),
        ("a:T_-.9", "docker.io/library/a:T_-.9", "a:T_-.9"),
        ("a:" + "t" * 128, "docker.io/library/a:" + "t" * 128, "a:" + "t" * 128),
        (f"a@sha256:{HEX}", f"docker.io/library/a@sha256:{HEX}", f"a@sha256:{HEX}"),
        (f"a:t@sha256:{HEX}", f"docker.io/library/a:t@sha256:{HEX}", f"a:t@sha256:{HEX}"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x", "127.0.0.1:5000/x"),
    ],
)
def test_a_name_is_read_and_written(text: str, canonical: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == canonical
    assert reference.familiar() == familiar
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "a\n",
        "a\0",
        "a:",
        "a:b:c",
        ":tag",
        "/a",
        "a/",
        "a//b",
        "-a",
        "a-",
        ".a",
        "a..b",
        "a___b",
        "../a",
        "a/../b",
        "UPPER",
        "user/Upper",
        "a@",
        "a@sha256:abc",
        f"a@sha256:{'A' * 64}",
        f"a@md5:{'a' * 32}",
        "a:" + "t" * 129,
        "a:-t",
        "a:.t",
        "a:t/",
        HEX,
        "exa_mple.org:x/a",
        "http://example.org/a",
        "ä",
        "a" * 300,
        "x" * 5000,
    ],
)
def test_what_is_no_name_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert repr(text)[:20] in caught.value.message or text[:20] in caught.value.message
    assert "\n" not in caught.value.one_line()


def test_a_repository_in_upper_case_gets_the_right_spelling() -> None:
    with pytest.raises(InvalidReference, match="lower case") as caught:
        Reference.parse("user/Hello:1")
    assert caught.value.hint == "try 'user/hello:1'"


def test_latest_is_added_only_where_nothing_is_named() -> None:
    assert Reference.parse("a").tagged().tag == "latest"
    assert Reference.parse("a:b").tagged().tag == "b"
    assert Reference.parse(f"a@sha256:{HEX}").tagged().tag == ""


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="ab/:@._-0A\n[]", max_size=20))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return
    assert Reference.parse(str(reference)) == reference

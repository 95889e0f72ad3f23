"""Patterns and .dockerignore rules; the pairs follow Docker's own matcher's tests."""

from __future__ import annotations

import time

import pytest

from notebook_containers.build.ignore import read_rules
from notebook_containers.build.patterns import Automaton, PatternError
from notebook_containers.errors import InvalidDocument


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("**", "file", True),
        ("**", "dir/file", True),
        ("**/", "file", True),
        ("**/**", "dir/file", True),
        ("dir/**", "dir/file", True),
        ("dir/**", "dir/a/b/c", True),
        ("**/dir", "dir", True),
        ("**/dir", "a/b/dir", True),
        ("**/dir2/*", "dir/dir2/file", True),
        ("**/dir2/*", "dir/dir2/dir2/file", True),
        ("**/dir2/**", "dir/dir2/dir2/file", True),
        ("**file", "file", True),
        ("**file", "dir/file", True),
        ("**/file", "dir/dir/file", True),
        ("**/file*", "dir/dir/file.txt", True),
        ("**/file*txt*", "dir/dir/file.txt", True),
        ("**/**/*.txt", "dir/dir/file.txt", True),
        ("a**/*.txt", "a/dir/dir/file.txt", True),
        ("a/*.txt", "a/dir/file.txt", False),
        ("a/*.txt", "a/file.txt", True),
        ("a[b-d]e", "ae", False),
        ("a[b-d]e", "ace", True),
        ("a[^b-d]e", "azze", False),
        ("a[^b-d]e", "aze", True),
        ("abc.def", "abcdef", False),
        ("abc?def", "abcZdef", True),
        ("abc?def", "abcdef", False),
        ("a\\*b", "a*b", True),
        ("a\\*b", "axb", False),
        ("a?b", "a/b", False),
        ("a[^a]b", "a/b", False),
        ("*", "a/b", False),
        ("[]a]", "]", True),
        ("[\\-x]", "-", True),
        ("[-]", "-", True),
        ("**/foo/bar", "foo/bar", True),
        ("**/foo/bar", "xfoo/bar", False),
        ("abc/**", "abc", False),
        ("*.md", "README.md", True),
        ("a*b*c", "aXbXbXc", True),
        ("a*b*c", "aXbXbX", False),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert Automaton([pattern]).matches(text) is expected


@pytest.mark.parametrize("pattern", ["a[", "a[]", "[^", "a[b-", "[\\", "a\\"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(PatternError):
        Automaton([pattern])


def test_two_stars_are_one_where_deep_is_off() -> None:
    assert Automaton(["a**b"], deep=False).matches("axxb")
    assert not Automaton(["**b"], deep=False).matches("x/b")


def test_bld01_catastrophic_pattern_is_linear() -> None:
    began = time.perf_counter()
    automaton = Automaton(["a*" * 500 + "b", "**/" * 200 + "x"])
    assert not automaton.matches("a" * 4000)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("rules", "path", "excluded"),
    [
        ("docs", "docs/a/b.txt", True),
        ("docs/*.md", "docs/a.md", True),
        ("docs/*.md", "docs/sub/a.md", False),
        ("*\n!keep", "keep", False),
        ("*\n!keep", "keep/below", False),
        ("*\n!keep/one", "keep/two", True),
        ("docs\n!docs/README.md", "docs/README.md", False),
        ("docs\n!docs/README.md\n**/README*", "docs/README.md", True),
        ("/docs/", "docs/x", True),
        ("./docs", "docs", True),
        ("# docs", "docs", False),
        ("  docs  ", "docs", True),
        ("\ufeffdocs\r\nother\r\n", "other", True),
        ("**/*.pyc", "a/b/c.pyc", True),
        ("a/../b", "b", True),
        (".", "a", False),
        ("", "a", False),
    ],
)
def test_ignore_rules(rules: str, path: str, excluded: bool) -> None:
    assert (read_rules(rules.encode()).rule_for(path) is not None) is excluded


def test_the_rule_that_decided_is_named() -> None:
    rule = read_rules(b"# x\n*\n!a\n").rule_for("b")
    assert rule is not None
    assert (rule.pattern, rule.line) == ("*", 2)


def test_walking_gives_the_same_as_whole_paths() -> None:
    rules = read_rules(b"a/*\n!a/keep/**/x\nb\n")
    state = rules.enter(rules.start, "a")
    assert not rules.excluded(state)
    keep = rules.enter(rules.enter(state, "/"), "keep")
    assert rules.excluded(keep)
    assert rules.may_return(keep)
    other = rules.enter(rules.enter(state, "/"), "other")
    assert not rules.may_return(other)


@pytest.mark.parametrize("text", ["!", "a[", "ok\n[z"])
def test_wrong_rules_name_their_line(text: str) -> None:
    with pytest.raises(InvalidDocument, match="line"):
        read_rules(text.encode())

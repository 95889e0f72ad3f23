"""LABEL: pairs with quotes and variables; later ones win, the base's stay."""

from __future__ import annotations

from .conftest import Builds


def test_pairs_quotes_and_variables(builds: Builds) -> None:
    text = 'FROM base\nARG V=1.2\nLABEL a=b "c d"=\'e f\' version=$V \\\n  multi="line \\\none"\n'
    assert builds(text).labels == {"a": "b", "c d": "e f", "version": "1.2", "multi": "line one"}


def test_later_labels_win_and_the_bases_stay(builds: Builds) -> None:
    builds("FROM base\nLABEL kept=1 changed=1\n", tag="parent")
    built = builds("FROM parent\nLABEL changed=2\nLABEL changed=3 new=1\n")
    assert built.labels == {"kept": "1", "changed": "3", "new": "1"}
    assert built.layers == []


def test_a_quote_that_is_not_closed(builds: Builds) -> None:
    assert builds.refused('FROM base\nLABEL a="b\n').line == 2

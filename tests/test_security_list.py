"""``SECURITY.md`` beside this file says the truth: each case has a row, each row a result, each named test exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASES = [f"RT-{number:02}" for number in range(1, 37)] + [f"CP-{number:02}" for number in range(1, 9)]
CASES += [f"REG-{number:02}" for number in range(1, 15)]
CASES += [f"TAR-{number}" for number in range(1, 13)]
RESULTS = ("proved", "proved in part", "open", "not applicable")
ROW = re.compile(r"^\| ((?:RT|CP|BLD|TAR|REG|NET|JUP|CMP|HST|REL)-[\w.]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
FLAW = re.compile(r"^\| ((?:CVE-\d{4}-\d+|GHSA-[\w-]+)) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


@cache
def text() -> str:
    return (HERE / "SECURITY.md").read_text()


@cache
def rows() -> dict[str, tuple[str, str, str]]:
    """Return what, tests and result of each case."""
    found = ROW.findall(text())
    assert len(found) == len({name for name, *_ in found}), "a case stands twice"
    return {name: (what, tests, result) for name, what, tests, result in found}


@cache
def functions(path: Path) -> frozenset[str]:
    return frozenset(
        node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("case", CASES)
def test_each_case_of_the_runtime_and_of_copying_has_a_row(case: str) -> None:
    assert case in rows()


def test_each_line_of_the_tables_is_read() -> None:
    lines = [line for line in text().splitlines() if line.startswith("| ") and not line.startswith(("| id", "| flaw"))]
    assert len(lines) == len(rows()) + len(FLAW.findall(text()))


def test_each_named_test_exists() -> None:
    named = NAMED.findall(text())
    assert len(named) > 100
    missing = [f"{path}::{name}" for path, name in named if not (HERE / path).is_file() or name not in functions(HERE / path)]
    assert missing == []


def test_each_row_has_a_result_and_what_it_rests_on() -> None:
    for case, (_what, tests, result) in rows().items():
        word = next((known for known in sorted(RESULTS, key=len, reverse=True) if result.startswith(known)), "")
        assert word, f"{case}: {result!r} is no result"
        if word.startswith("proved"):
            assert NAMED.search(tests), f"{case} is said to be proved, by no test"
        if word != "proved":
            assert len(result) > len(word) + 10, f"{case}: say why"


def test_each_flaw_leads_to_a_row() -> None:
    flaws = FLAW.findall(text())
    assert len(flaws) >= 90
    assert len(flaws) == len({name for name, *_ in flaws}), "a flaw stands twice"
    for name, cases, _what in flaws:
        assert set(re.findall(r"[A-Z]+-[\w.]+", cases)) <= set(rows()), name
        assert re.search(r"[A-Z]+-\w+", cases), name


def test_tests_that_carry_a_cases_number_are_named() -> None:
    """A test called after a case and missing in its row would be forgotten when the row is read."""
    named = set(NAMED.findall(text()))
    silent = []
    for path in sorted(HERE.rglob("test_*.py")):
        for name in functions(path):
            numbers = re.findall(r"(?:^test|_)_?(rt|cp|tar)(\d\d)(?=_)", name)
            if numbers and (str(path.relative_to(HERE)), name) not in named:
                silent.append(f"{path.relative_to(HERE)}::{name}")
    assert silent == []


def test_the_oldest_jupyter_server_has_its_own_flaws_mended() -> None:
    """JUP-12: CVE-2026-40110 and CVE-2026-40934 are mended in 2.18."""
    wanted = re.search(r'"jupyter-server>=(\d+)\.(\d+)', (HERE.parent / "pyproject.toml").read_text())
    assert wanted
    assert (int(wanted[1]), int(wanted[2])) >= (2, 18)

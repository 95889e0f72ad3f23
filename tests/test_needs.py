"""In CI nothing skips unless the one list allows it: every way to skip is tried, and this tree's tests use one."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[1]
LISTED = """import tests.needs
tests.needs.MISSING_IN_CI = {"luck": "nobody has it always"}

def test(): need(None, "luck")

def test_other(): pass"""
WAYS = {
    "need": "def test(): need(None, 'strace')",
    "fixture": "@pytest.fixture\ndef tool(): need(None, 'strace')\n\ndef test(tool): pass",
    "needs": "@pytest.mark.needs('no-such-program')\ndef test(): pass",
    "skip": "def test(): pytest.skip('strace is missing')",
    "lie": "def test(): pytest.skip('needs luck: so it says')",
    "mark_skip": "@pytest.mark.skip(reason='strace is missing')\ndef test(): pass",
    "skipif": "@pytest.mark.skipif(True, reason='strace is missing')\ndef test(): pass",
    "importorskip": "def test(): pytest.importorskip('no_such_module')",
    "unittest": "import unittest\n\nclass Test(unittest.TestCase):\n    def test(self): self.skipTest('strace is missing')",
    "xfail": "@pytest.mark.xfail(reason='strace is missing')\ndef test(): assert False",
    "file": "pytest.importorskip('no_such_module')\n\ndef test(): pass",
    "file_skip": "pytest.skip('strace is missing', allow_module_level=True)",
}
HOW_TO_SKIP = {"skip", "skipif", "importorskip", "skipTest", "skipUnless", "skipIf", "SkipTest", "xfail"}


def run(place: Path, *, ci: bool) -> tuple[int, str]:
    """Run all the ways by a fresh pytest with this tree's plugin; returns its exit status and what it printed."""
    for name, text in {**WAYS, "listed": LISTED}.items():
        (place / f"test_{name}.py").write_text(f"import pytest\nfrom tests.needs import need\n\n{text}\n")
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"PYTHONPATH": str(TREE)}
    options = ["-p", "tests.needs", "-p", "no:cacheprovider", "-rA", "--continue-on-collection-errors", "-c", os.devnull]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(place)],
        env=environment | ({"CI": "true"} if ci else {}),
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def in_ci(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    return run(tmp_path_factory.mktemp("ci"), ci=True)


@pytest.mark.parametrize("way", WAYS)
def test_a_skip_fails_in_ci_by_name_and_with_the_reason(in_ci: tuple[int, str], way: str) -> None:
    status, said = in_ci
    assert status == 1
    test = "" if way.startswith("file") else "::Test::test" if way == "unittest" else "::test"
    reason = r"\(.*(strace|no.such|luck|assert False).*"
    assert re.search(rf"^test_{way}\.py{test} may not be skipped in CI {reason}\): give CI .* tests\.needs\.MISSING_IN_CI$", said, re.M), (
        said
    )


def test_what_is_listed_may_skip_in_ci(in_ci: tuple[int, str]) -> None:
    _, said = in_ci
    assert said.count("SKIPPED") == 1
    assert "6 failed, 1 passed, 1 skipped" in said
    assert "6 errors" in said


def test_elsewhere_a_skip_is_one(tmp_path: Path) -> None:
    status, said = run(tmp_path, ci=False)
    assert (status, f"1 passed, {len(WAYS)} skipped, 1 xfailed" in said) == (0, True), said


def test_this_trees_tests_skip_by_need_alone() -> None:
    found = []
    for path in sorted((TREE / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in HOW_TO_SKIP and path.name != "needs.py":
                found.append(f"{path.relative_to(TREE)}:{node.lineno}: {node.attr}")
    assert not found

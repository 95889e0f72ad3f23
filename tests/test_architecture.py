"""The house's rules as tests: imports go down only, files stay small, the tools are content."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[1]
PACKAGE = TREE / "notebook_containers"
TOP = {"notebook_containers", "notebooks", "labextension", "tests", "pyproject.toml", "README.md", "LICENSE"}
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(TREE / "tests").rglob("*.py")])


def tool(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=TREE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_ruff_finds_nothing() -> None:
    tool("ruff", "check", ".")


def test_files_are_formatted() -> None:
    tool("ruff", "format", "--check", ".")


@pytest.mark.timeout(600)
def test_mypy_is_content() -> None:
    tool("mypy")


def test_imports_go_down_only() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=TREE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_top_level_holds_what_was_agreed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=TREE, capture_output=True, text=True, check=True).stdout.splitlines()
    tops = {name.partition("/")[0] for name in tracked}
    assert {name for name in tops if not name.startswith(".")} <= TOP


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(TREE)))
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 600


def test_every_module_says_what_it_is() -> None:
    silent = [str(p.relative_to(TREE)) for p in PACKAGE.rglob("*.py") if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not silent


def loaded(code: str) -> set[str]:
    script = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=TREE, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_what_starts_with_every_container_needs_the_standard_library_alone() -> None:
    code = "from notebook_containers.runtime import spawner"
    foreign = {name for name in loaded(code) if name.partition(".")[0] not in sys.stdlib_module_names | {"__main__", "notebook_containers"}}
    assert not {name for name in foreign if not name.startswith(("_distutils_hack", "_virtualenv", "sitecustomize", "usercustomize"))}
    ours = {name for name in loaded(code) if name.startswith("notebook_containers.")}
    layers = {name.split(".")[1] for name in ours}
    assert layers <= {"errors", "linux", "runtime", "oci"}
    assert not loaded(code) & {"dataclasses", "inspect"}

"""The store's durable steps, read from its source: a new one is swept, or missed by a failing test, without being listed anywhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import notebook_containers.store

FOLDER = Path(notebook_containers.store.__file__).parent
OTHERS = ("repair.", "disk.boot.", "disk.aside.", "disk.force.", "migrations.")
"""Steps of rare operations, swept where those are tested."""
_DURABLE = frozenset({"fsync", "fdatasync", "syncfs", "rename", "replace_file", "renameat2", "fsync_directory"})


def durable_steps() -> list[str]:
    """Return the name of every failpoint in the store."""
    return sorted({name for path in FOLDER.glob("*.py") for name in re.findall(r'fp\("([a-z_.]+)"\)', path.read_text())})


def steps_without_failpoint() -> set[str]:
    """Return the functions of the store that rename or sync something, or commit a transaction, and have no failpoint."""
    return {f"{path.stem}.{function.name}" for path in FOLDER.glob("*.py") for function in _functions(path) if _is_bare(function)}


def _functions(path: Path) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


def _is_bare(function: ast.FunctionDef) -> bool:
    called = {_name(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
    commits = any(isinstance(node, ast.Constant) and node.value == "COMMIT" for node in ast.walk(function))
    return (commits or bool(called & _DURABLE)) and "fp" not in called


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""

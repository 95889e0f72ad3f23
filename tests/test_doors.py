"""What each door may not import: the Python package, the notebook's extension, the command line's verbs. The lists are the budget."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.home import Home

TREE = Path(__file__).parents[1]
FOREIGN = {
    "pandas",
    "numpy",
    "pyroute2",
    "tornado",
    "urllib3",
    "ssl",
    "yaml",
    "elftools",
    "jeepney",
    "isal",
    "backports.zstd",
    "ipywidgets",
}
ENGINE = {f"notebook_containers.{name}" for name in ("engine.engine", "engine.container", "store.store", "runtime.lifecycle")}
MACHINE = {f"notebook_containers.network.{name}" for name in ("bridge", "firewall", "links", "userland", "forward")}
OTHERS = {f"notebook_containers.{name}" for name in ("build.solver", "registry.client", "registry.pull", "compose.model", "engine.doctor")}
STANDARD = {"dataclasses", "copy", "asyncio", "multiprocessing", "http.client", "email", "logging", "tarfile", "xml"}


def imported(*words: str, **variables: str) -> set[str]:
    """Return the modules that a fresh interpreter imports for a command."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(TREE), "LC_ALL": "C.UTF-8", **variables}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words], cwd="/", env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return set(re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.MULTILINE))


def nbc(*words: str, **variables: str) -> set[str]:
    found = imported("-m", "notebook_containers", *words, **variables)
    assert "notebook_containers.cli.main" in found
    return found


def test_the_package_imports_nothing() -> None:
    found = imported("-c", "import notebook_containers")
    assert not found & {*FOREIGN, *STANDARD, "IPython", "click", "sqlite3", "ctypes", "inspect", "subprocess"}
    assert {name for name in found if name.startswith("notebook_containers")} == {"notebook_containers"}


def test_the_python_api_imports_no_other_package() -> None:
    found = imported("-c", "from notebook_containers import Engine")
    assert not found & {*FOREIGN, *STANDARD, *MACHINE, *OTHERS, "IPython", "click"}


def test_the_extension_is_loaded_without_tables_and_without_a_network(tmp_path: Path) -> None:
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance()\n"
        "before = set(sys.modules); shell.run_line_magic('load_ext', 'notebook_containers'); print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TREE,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "notebook_containers.notebook.extension" in done.stdout.split()
    assert not set(done.stdout.split()) & {*FOREIGN, *MACHINE, *OTHERS, "notebook_containers.engine.engine", "sqlite3"}


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["network", "create", "--help"], ["image", "ls", "--help"]], ids=" ".join)
def test_help_needs_no_engine(words: list[str]) -> None:
    assert not nbc(*words) & {*FOREIGN, *STANDARD, *ENGINE, *MACHINE, *OTHERS, "sqlite3"}


def test_names_are_completed_without_an_engine() -> None:
    variables = {"_NBC_COMPLETE": "bash_complete", "COMP_WORDS": "nbc net", "COMP_CWORD": "1"}
    assert not nbc(**variables) & {*FOREIGN, *STANDARD, *ENGINE, *MACHINE, *OTHERS, "sqlite3"}


@pytest.mark.parametrize("words", [["ps"], ["images"], ["volume", "ls"]], ids=" ".join)
def test_listings(tmp_path: Path, words: list[str]) -> None:
    found = nbc(*words, NBC_ROOT=str(tmp_path / "root"), NBC_RUN=str(tmp_path / "run"))
    assert not found & {*FOREIGN, *STANDARD, *MACHINE, *OTHERS}


@pytest.mark.root
def test_a_run_without_a_network(home: Home) -> None:
    found = nbc("run", "--rm", "--network", "none", "localhost/base", "true", **home.variables())
    assert "notebook_containers.engine.launch" in found
    assert not found & {*FOREIGN, *STANDARD, *MACHINE, *OTHERS, "notebook_containers.commands.text", "shutil"}

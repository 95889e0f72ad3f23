"""``nbc demo`` and ``nbc lab``: the notebooks that come with the package, executed or opened."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from notebook_containers.commands.results import Result
from notebook_containers.errors import Error, InvalidArgument

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbformat import NotebookNode

QUICKSTART = "01_quickstart.ipynb"


def lessons_directory() -> Path:
    """Return where the notebooks lie: ``notebooks/`` of a source tree when that is the current directory, else the installed copy."""
    here = Path.cwd() / "notebooks"
    if (here / QUICKSTART).is_file():
        return here
    installed = Path(str(resources.files("notebook_containers") / "lessons"))
    if not (installed / QUICKSTART).is_file():
        raise InvalidArgument("the notebooks are not installed", hint="run the command in the source tree, or install the package again")
    return installed


def _demo(*, output: str) -> Result:
    """Execute the quickstart notebook for real and keep it, with a web page of it."""
    import nbformat

    source = lessons_directory() / QUICKSTART
    target = Path(output).absolute()
    target.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(source, as_version=4)
    failed = _execute(notebook, target)
    executed = target / QUICKSTART
    nbformat.write(notebook, executed)
    page = executed.with_suffix(".html")
    page.write_text(_page(notebook), encoding="utf-8")
    print(f"\nexecuted notebook: {executed}\nweb page:          {page}")
    if failed:
        raise failed
    return None


def _execute(notebook: NotebookNode, cwd: Path) -> Error | None:
    """Execute every cell in this environment's kernel, saying what happens; returns the failure, if any."""
    from nbclient import NotebookClient

    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["kernelspec"] = kernel
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(cwd)}}, store_widget_state=False
    )
    with tempfile.TemporaryDirectory(prefix="nbc-") as sockets:
        client.km = _kernel_manager(sockets)
        with client.setup_kernel():
            return _cells(client, notebook)


def _cells(client: NotebookClient, notebook: NotebookNode) -> Error | None:
    from nbclient.exceptions import CellExecutionError

    total = sum(1 for cell in notebook.cells if cell.cell_type == "code")
    number = 0
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            _say_heading(cell.source)
            continue
        number += 1
        print(f"[{number}/{total}] {_first_line(cell.source)}", flush=True)
        started = time.monotonic()
        try:
            client.execute_cell(cell, index)
        except CellExecutionError as err:
            print(f"      failed: {err.ename}: {err.evalue}")
            return Error(f"cell {number} of the notebook failed: {err.evalue}", hint="the executed notebook shows it in full")
        _say_outcome(cell, time.monotonic() - started)
    return None


def _kernel_manager(sockets: str) -> object:
    """Return a manager whose kernel is this interpreter, whatever kernels are installed for the user, over sockets of its own."""
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/k")
    spec = manager.kernel_spec
    spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return manager


def _say_heading(source: str) -> None:
    line = source.strip().splitlines()[0] if source.strip() else ""
    if line.startswith("#"):
        print(f"\n{line.lstrip('# ')}", flush=True)


def _first_line(source: str) -> str:
    line = source.strip().splitlines()[0] if source.strip() else ""
    return line if len(line) <= 100 else line[:99] + "…"


def _say_outcome(cell: NotebookNode, seconds: float) -> None:
    """Print the end of what a cell showed, as text."""
    texts = []
    for output in cell.outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        texts += [line for line in str(text).splitlines() if line.strip()]
    for line in texts[:12]:
        print(f"      {line[:150]}")
    if len(texts) > 12:
        print(f"      … {len(texts) - 12} more lines in the notebook")
    print(f"      ({seconds:.2f} s)", flush=True)


def _page(notebook: NotebookNode) -> str:
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(embed_images=True)
    exporter.mathjax_url = ""
    exporter.require_js_url = ""
    body, _resources = exporter.from_notebook_node(notebook)
    return str(body)


def _lab(arguments: tuple[str, ...]) -> Result:
    """Open JupyterLab in the notebooks' directory; further arguments go to jupyter lab."""
    directory = lessons_directory()
    if "notebook_containers" in directory.parts and directory.name == "lessons":
        directory = _own_copy(directory)
    sys.stdout.flush()
    os.chdir(directory)
    command = [sys.executable, "-m", "jupyterlab", *arguments]
    if os.geteuid() == 0 and not any("allow-root" in word for word in arguments):
        command.append("--allow-root")
    os.execv(sys.executable, command)  # noqa: S606


def _own_copy(lessons: Path) -> Path:
    """Copy the installed notebooks beside the user's work, so that they can be edited; what is there already is kept."""
    target = Path.cwd() / "notebooks"
    target.mkdir(exist_ok=True)
    for source in sorted(lessons.glob("*.ipynb")):
        if not (target / source.name).exists():
            shutil.copyfile(source, target / source.name)
    for source in (path for path in lessons.iterdir() if path.is_dir()):  # what a lesson reads
        if not (target / source.name).exists():
            shutil.copytree(source, target / source.name)
    return target


COMMANDS: Mapping[str, click.Command] = {
    "demo": click.Command(
        "demo",
        callback=_demo,
        params=[click.Option(["-o", "--output"], default="nbc-demo", show_default=True, help="Directory for the executed notebook.")],
        help=_demo.__doc__,
    ),
    "lab": click.Command(
        "lab",
        callback=_lab,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        help=_lab.__doc__,
    ),
}

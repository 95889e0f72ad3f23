"""Containers inside Jupyter without Docker.

``from notebook_containers import Engine`` is the Python door, ``%load_ext notebook_containers`` the notebook's, ``nbc`` the shell's.
Importing this package imports nothing heavy: every public name is resolved on first use, because the monitor of each container
imports it too.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs seven milliseconds, and every monitor imports this module
if TYPE_CHECKING:
    from notebook_containers.engine.engine import Engine as Engine
    from notebook_containers.notebook.plans import PlanDiagram as PlanDiagram, plan_diagram as plan_diagram
    from notebook_containers.notebook.tables import steps_frame as steps_frame

__version__ = "0.1.0"

__all__ = ["Engine", "__version__"]


def __getattr__(name: str) -> object:
    """Resolve a public name on first use (PEP 562)."""
    if name == "Engine":
        from notebook_containers.engine.engine import Engine

        return Engine
    if name == "plan_diagram":
        from notebook_containers.notebook.plans import plan_diagram

        return plan_diagram
    if name == "steps_frame":
        from notebook_containers.notebook.tables import steps_frame

        return steps_frame
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: object) -> None:
    """Register the magics (``%load_ext notebook_containers``): silent, and the same when done twice."""
    from notebook_containers.notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: object) -> None:
    """Take the magics' completions away again (``%unload_ext notebook_containers``)."""
    from notebook_containers.notebook.extension import unload

    unload(shell)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Tell JupyterLab where the prebuilt front end lies."""
    return [{"src": "labextension", "dest": "notebook-containers"}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Tell Jupyter Server which module holds the handlers."""
    return [{"module": "notebook_containers"}]


def _load_jupyter_server_extension(app: object) -> None:
    """Add the authenticated handlers to a running Jupyter server."""
    from notebook_containers.server.extension import load

    load(app)

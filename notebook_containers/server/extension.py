"""The Jupyter server extension: puts the handlers under ``<base_url>notebook-containers/``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_server.utils import url_path_join

from notebook_containers.server.handlers import ROUTES
from notebook_containers.server.shared import SharedEngine

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

PREFIX = "notebook-containers"
SETTING = "notebook_containers"


def load(serverapp: ServerApp) -> None:
    """Add the handlers to a running server.

    The :class:`SharedEngine` behind them is kept in the web application's settings under ``notebook_containers``, so that an
    embedding program (or a test) can close it; a server that simply ends needs no closing.
    """
    shared = SharedEngine()
    serverapp.web_app.settings[SETTING] = shared
    base = serverapp.web_app.settings["base_url"]
    handlers = [(url_path_join(base, PREFIX, route), handler, {"shared": shared}) for route, handler in ROUTES]
    serverapp.web_app.add_handlers(".*$", handlers)
    serverapp.log.info("notebook_containers: handlers under %s", url_path_join(base, PREFIX))

"""Where a browser opens a published port: through jupyter-server-proxy where the notebook's server has it."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from notebook_containers.engine.publishing import PortUrl
from notebook_containers.notebook.html import Markup, element

_PROXY = "jupyter_server_proxy"
_LOCAL = ("127.0.0.1", "0.0.0.0", "::", "::1")  # noqa: S104  # compared, not bound


def where(host_ip: str, host_port: int, *, path: str = "") -> str:
    """Return the address of a published port for the notebook's reader: a path on the notebook's server, or this machine's own address."""
    base = server_base()
    if base and host_ip in _LOCAL:
        return f"{base}proxy/{host_port}/{path}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host_ip, host_ip)  # noqa: S104  # compared, not bound
    return f"http://[{host}]:{host_port}/{path}" if ":" in host else f"http://{host}:{host_port}/{path}"


def anchor(address: str, text: str) -> Markup:
    """Return a link that opens beside the notebook."""
    return element("a", {"href": address, "target": "_blank", "rel": "noopener noreferrer"}, text)


def port_url(url: PortUrl) -> str:
    """Return the HTML of ``container.url(80)``."""
    web = url.partition(":")[0] == "http"
    return anchor(where(url.host_ip, url.host_port, path=url.path) if web else url, url)


def server_base() -> str:
    """Return the path of the notebook's server where it proxies ports ("/user/ann/"); an empty text without jupyter-server-proxy."""
    if importlib.util.find_spec(_PROXY) is None:
        return ""
    return os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or _base_of_server(os.environ)


def _base_of_server(environment: Mapping[str, str]) -> str:
    """The server that started this kernel tells in its runtime file where it is."""
    server = environment.get("JPY_PARENT_PID", "")
    with suppress(ImportError, OSError, ValueError):
        from jupyter_core.paths import jupyter_runtime_dir

        said = json.loads((Path(jupyter_runtime_dir()) / f"jpserver-{int(server)}.json").read_bytes())
        base = said.get("base_url") if isinstance(said, dict) else None
        return base if isinstance(base, str) and base.startswith("/") else ""
    return ""

"""``%load_ext notebook_containers``: registers magics and completions; silent, the same when done twice, undone by ``%unload_ext``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.interactiveshell import InteractiveShell

from notebook_containers.notebook.completion import container_matcher
from notebook_containers.notebook.magics import ContainerMagics

if TYPE_CHECKING:
    from notebook_containers.engine.publishing import PortUrl


_ADDRESSES = "notebook_containers.engine.publishing"


def _port_url(url: PortUrl) -> str:
    from notebook_containers.notebook.links import port_url

    return port_url(url)


def load(shell: object) -> None:
    """Register the magics of :class:`ContainerMagics`, their completions, and how the address of a port is shown."""
    if not isinstance(shell, InteractiveShell):
        raise TypeError("the extension is loaded by IPython: %load_ext notebook_containers")
    loaded = shell.magics_manager.registry.get("ContainerMagics")
    if isinstance(loaded, ContainerMagics):
        return
    magics = ContainerMagics(shell=shell)
    shell.register_magics(magics)
    shell.Completer.custom_matchers.append(container_matcher)
    if shell.display_formatter is not None:
        shell.display_formatter.formatters["text/html"].for_type_by_name(_ADDRESSES, "PortUrl", _port_url)


def unload(shell: object) -> None:
    """Take the magics and completions away; containers go on."""
    if not isinstance(shell, InteractiveShell):
        return
    magics = shell.magics_manager.registry.pop("ContainerMagics", None)
    if isinstance(magics, ContainerMagics):
        magics.face.close()
        for kind, names in magics.magics.items():
            for name in names:
                shell.magics_manager.magics[kind].pop(name, None)
    if shell.display_formatter is not None:
        shell.display_formatter.formatters["text/html"].pop(f"{_ADDRESSES}.PortUrl", None)
    if container_matcher in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(container_matcher)

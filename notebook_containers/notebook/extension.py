"""``%load_ext notebook_containers``: registers magics and completions; silent, the same when done twice, undone by ``%unload_ext``."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell

from notebook_containers.notebook.completion import container_matcher
from notebook_containers.notebook.magics import ContainerMagics


def load(shell: object) -> None:
    """Register the magics of :class:`ContainerMagics` and their completions."""
    if not isinstance(shell, InteractiveShell):
        raise TypeError("the extension is loaded by IPython: %load_ext notebook_containers")
    loaded = shell.magics_manager.registry.get("ContainerMagics")
    if isinstance(loaded, ContainerMagics):
        return
    magics = ContainerMagics(shell=shell)
    shell.register_magics(magics)
    shell.Completer.custom_matchers.append(container_matcher)


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
    if container_matcher in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(container_matcher)

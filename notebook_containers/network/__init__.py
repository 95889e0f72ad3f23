"""Links, addresses, names and ports of network namespaces.

The modules that touch the machine are attributes (``network.bridge``), imported when first used: a container without a network, ``nbc ps``
and every other verb start without them.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from notebook_containers.network import (
        bridge as bridge,
        direct as direct,
        forward as forward,
        guard as guard,
        ipam as ipam,
        machine as machine,
        redirect as redirect,
        shared as shared,
        userland as userland,
    )

_ON_USE = ("bridge", "direct", "forward", "guard", "ipam", "machine", "redirect", "shared", "userland")


def __getattr__(name: str) -> object:
    """Import a module on first use (PEP 562)."""
    if name in _ON_USE:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

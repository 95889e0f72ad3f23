"""What makes bridges and takes them away, for root and for an ordinary user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from notebook_containers import network as net

if TYPE_CHECKING:
    from notebook_containers.engine.parts import Parts
    from notebook_containers.network.config import NetworkConfig
    from notebook_containers.network.shared import SharedBridges

LOCK = "networks.lock"


class Bridges(Protocol):
    """What makes bridges and takes them away: this process for root, the process that keeps an ordinary user's namespace for others."""

    def ensure(self, config: NetworkConfig, /) -> tuple[str, ...]:
        """Make the bridge and the firewall."""

    def attach(
        self,
        config: NetworkConfig,
        /,
        *,
        pid: int,
        container_id: str,
        address: str,
        address6: str,
        mac: str,
        interface: str,
        link_local: Sequence[str],
        way_out: bool,
        guarded: bool,
    ) -> object:
        """Give a container its link."""

    def detach(self, config: NetworkConfig, /, *, container_id: str) -> None:
        """Take a container's link away."""

    def remove(self, config: NetworkConfig, /) -> None:
        """Take the bridge away."""

    def set_way_out(self, pid: int, interface: str, gateways: Sequence[str], /) -> None:
        """Choose a container's default routes."""


def shared_bridges(parts: Parts) -> SharedBridges | None:
    """Return where an ordinary user's networks are; None for root, whose networks are the machine's."""
    maps = parts.host.maps
    return net.shared.SharedBridges(parts.run / "networks", parts.root / LOCK, maps) if maps else None

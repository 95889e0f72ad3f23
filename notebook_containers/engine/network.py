"""One network: docker-py's ``Network``, with the same verbs and meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.lean import dataclass, field
from notebook_containers.oci.documents import JSON

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.networks import Networks


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network as it was when it was looked up; ``driver`` is bridge, macvlan, ipvlan, host or null, ``created`` Unix time."""

    id: str
    name: str
    driver: str
    subnet: str = ""
    gateway: str = ""
    internal: bool = False
    ipv6: bool = False
    created: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    networks: Networks = field(repr=False)

    @property
    def short_id(self) -> str:
        """The first twelve digits of the id."""
        return self.id[:12]

    @property
    def attrs(self) -> dict[str, JSON]:
        """Everything known, in the shape of ``docker network inspect``."""
        return self.networks.inspect(self.name)

    @property
    def containers(self) -> Sequence[str]:
        """The names of the running containers that are in it."""
        return self.networks.members(self.name)

    def connect(
        self,
        container: str | Container,
        *,
        aliases: Sequence[str] | None = None,
        links: Mapping[str, str] | Sequence[str] | None = None,
        ipv4_address: str | None = None,
        ipv6_address: str | None = None,
        link_local_ips: Sequence[str] | None = None,
        driver_opt: Mapping[str, str] | None = None,
        mac_address: str | None = None,
        gw_priority: int = 0,
    ) -> None:
        """Put a container into the network, running or not (docker-py's ``connect``); see :meth:`Networks.connect`."""
        self.networks.connect(
            self.name,
            container,
            aliases=aliases,
            links=links,
            ipv4_address=ipv4_address,
            ipv6_address=ipv6_address,
            link_local_ips=link_local_ips,
            driver_opt=driver_opt,
            mac_address=mac_address,
            gw_priority=gw_priority,
        )

    def disconnect(self, container: str | Container, *, force: bool = False) -> None:
        """Take a container out of the network, running or not."""
        self.networks.disconnect(self.name, container, force=force)

    def remove(self) -> None:
        """Remove it; raises Conflict while a container is in it."""
        self.networks.remove(self.id or self.name)

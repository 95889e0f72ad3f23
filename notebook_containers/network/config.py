"""What a network is and what a container has in it: two documents, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.lean import dataclass, field
from notebook_containers.oci.documents import Document, always


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class NetworkConfig(Document):
    """A network of this machine: ``subnet`` as "10.133.1.0/24", ``gateway`` an address in it, ``link`` the bridge's name (15 bytes).

    ``internal`` networks have no way out and no way in; their containers reach each other only. ``subnet6`` is empty without IPv6,
    ``mtu`` 0 for that of the host's way out. Without ``icc`` the containers do not reach each other, without ``masquerade`` they go
    outside with their own addresses. ``parent`` and ``mode`` are those of a macvlan or ipvlan network.
    """

    id: str
    name: str
    driver: str = field(default="bridge", metadata=always())
    subnet: str
    gateway: str
    link: str
    internal: bool = False
    subnet6: str = ""
    gateway6: str = ""
    mtu: int = 0
    parent: str = ""
    mode: str = ""
    icc: bool = True
    masquerade: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Endpoint(Document):
    """A container's place in a network: ``interface`` inside, ``link`` its other end on the host, ``address`` without prefix length."""

    network: str
    interface: str
    link: str
    address: str
    prefix_length: int
    gateway: str
    mac: str
    address6: str = ""

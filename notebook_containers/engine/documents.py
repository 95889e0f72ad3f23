"""What the engine keeps on disk of a container, a network and a volume mount: the documents in the store's rows."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.engine.options import ContainerOptions
from notebook_containers.lean import dataclass, field
from notebook_containers.network.ports import PortMapping
from notebook_containers.oci.documents import Document
from notebook_containers.oci.image import ContainerConfig, Digest


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class MountPoint(Document):
    """One mount of a container as it was made; ``kind`` is bind, volume or tmpfs."""

    kind: str
    source: str
    target: str
    volume: str = ""
    read_only: bool = False
    anonymous: bool = False
    propagation: str = ""
    recursive: bool = True
    subpath: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Endpoint(Document):
    """A container's place in a network while it runs."""

    network: str
    network_id: str = ""
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    resolver: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class ContainerDocument(Document):
    """One container: what it was made from and with, and where it is attached."""

    id: str
    created: float
    image: str
    image_id: str
    layers: tuple[Digest, ...] = ()
    args: tuple[str, ...]
    config: ContainerConfig
    options: ContainerOptions
    hostname: str
    mounts: tuple[MountPoint, ...] = ()
    endpoint: Endpoint | None = None
    ports: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    first_id: int = 0
    """With ``--userns auto``: the host's id that is its root; as many others as all ranges have follow."""

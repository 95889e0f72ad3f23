"""What the engine keeps on disk of a container, a network and a volume mount: the documents in the store's rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from notebook_containers.engine.network_words import DEFAULT, Attachment, is_own
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.lean import dataclass, field
from notebook_containers.network.ports import PortMapping
from notebook_containers.oci.documents import Document
from notebook_containers.oci.image import ContainerConfig, Digest


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class MountPoint(Document):
    """One mount of a container as it was made; ``kind`` is bind, volume, tmpfs or image.

    ``image`` is the name that was given for one. ``snapshot`` ends the key of the snapshot that the mount is of or keeps its changes in: an
    image's layers, or what is written over the directory ``source``.
    """

    kind: str
    source: str
    target: str
    volume: str = ""
    read_only: bool = False
    anonymous: bool = False
    propagation: str = ""
    recursive: bool = True
    subpath: str = ""
    image: str = ""
    snapshot: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Endpoint(Document):
    """A container's place in a network while it runs; ``address`` and ``address6`` without their prefix lengths.

    An ``internal`` network has no way out.
    """

    network: str
    network_id: str = ""
    interface: str = "eth0"
    aliases: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    gw_priority: int = 0
    link_local: tuple[str, ...] = ()
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    resolver: str = ""
    internal: bool = False

    def id_for(self, container_id: str) -> str:
        """Return the id that stands for a container's place in this network: the same place, the same id."""
        return hashlib.sha256(f"{self.network_id}/{container_id}".encode()).hexdigest()


def way_out(places: Sequence[Endpoint]) -> Endpoint | None:
    """Return the place whose gateway is the default route: the highest rank, of equals the first; None when all are internal."""
    return max((place for place in places if not place.internal), key=lambda place: place.gw_priority, default=None)


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
    endpoints: tuple[Endpoint, ...] = ()
    attachments: tuple[Attachment, ...] | None = None
    """The networks it is to be in since it was connected or disconnected; before that ``options`` say it."""
    ports: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    first_id: int = 0
    """With ``--userns auto``: the host's id that is its root; as many others as all ranges have follow."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Its place in the first of its networks."""
        return self.endpoints[0] if self.endpoints else None

    @property
    def way_out(self) -> Endpoint | None:
        """Its place in the network whose gateway is its default route, where its ports are published too; None when all are internal."""
        return way_out(self.endpoints)

    def names_in(self, place: Endpoint, name: str) -> tuple[str, ...]:
        """Return what others find it by in a network while it runs; nothing in the default one, as in Docker. ``name`` is its own."""
        if place.network == DEFAULT or not place.network_id:
            return ()
        return tuple(dict.fromkeys(word.lower() for word in (name, *place.aliases, self.id[:12], self.hostname)))

    def wanted(self) -> tuple[Attachment, ...]:
        """Return the places in networks that it has when it is started."""
        if self.attachments is not None:
            return self.attachments
        if self.options.attachments:
            return self.options.attachments
        return (Attachment(network=self.options.network),) if is_own(self.options.network) else ()

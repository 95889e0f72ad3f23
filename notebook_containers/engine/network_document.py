"""A network as it is recorded, what the kernel is to be told of it, and the addresses that a container gets in it."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.engine.network_words import DEFAULT, Attachment
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass, field
from notebook_containers.network import ipam
from notebook_containers.network.config import NetworkConfig
from notebook_containers.oci.documents import Document, untrusted_json


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class NetworkDocument(Document):
    """A network's row; ``chosen`` says that its subnet was chosen here and may be another one while nobody is in it."""

    id: str
    name: str
    driver: str = DEFAULT
    subnet: str
    gateway: str
    subnet6: str = ""
    gateway6: str = ""
    ip_range: str = ""
    aux_addresses: Mapping[str, str] = field(default_factory=dict)
    link: str
    internal: bool = False
    attachable: bool = False
    chosen: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


def parse(text: str) -> NetworkDocument:
    """Return a network's row from its text."""
    return NetworkDocument.from_json(untrusted_json(text.encode(), what="network record"))


def config_of(document: NetworkDocument) -> NetworkConfig:
    """Return what the kernel is to be told of a network."""
    return NetworkConfig(
        id=document.id,
        name=document.name,
        driver=document.driver,
        subnet=document.subnet,
        gateway=document.gateway,
        link=document.link,
        internal=document.internal,
        subnet6=document.subnet6,
        gateway6=document.gateway6,
        mtu=int(document.options.get("mtu", 0)),
        parent=document.options.get("parent", ""),
        mode=document.options.get("mode", ""),
        icc=document.options.get("icc", "true") == "true",
        masquerade=document.options.get("masquerade", "true") == "true",
        labels=dict(document.labels),
    )


def choose(document: NetworkDocument, wanted: Attachment, taken: set[str]) -> str:
    """Return what a container has in a network as its lease has it: an IPv4 address, in a network with IPv6 a comma and one of those."""
    kept = {document.gateway, document.gateway6, *document.aux_addresses.values()}
    used = {*kept, *(text.partition(",")[0] for text in taken)}
    if wanted.address:
        address = ipam.check_address(document.subnet, used, wanted.address)
    else:
        address = ipam.choose_address(document.subnet, used, ip_range=document.ip_range)
    if not document.subnet6:
        if wanted.address6:
            raise InvalidArgument(f"network {document.name} has no IPv6", hint="make it with --ipv6")
        return address
    used6 = {*kept, *(text.partition(",")[2] for text in taken)}
    if wanted.address6:
        return f"{address},{ipam.check_address(document.subnet6, used6, wanted.address6)}"
    return f"{address},{ipam.choose_address6(document.subnet, document.subnet6, used6, beside=address)}"

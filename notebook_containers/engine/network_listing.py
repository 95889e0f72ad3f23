"""Networks as they are listed and inspected: docker-py's filters, the shape of ``docker network inspect``, and who is in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.engine import launch
from notebook_containers.engine.documents import ContainerDocument, Endpoint
from notebook_containers.engine.filters import values
from notebook_containers.engine.network_words import BUILT_IN
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass
from notebook_containers.oci.documents import JSON, untrusted_json

if TYPE_CHECKING:
    from notebook_containers.engine.network import Network
    from notebook_containers.engine.network_document import NetworkDocument
    from notebook_containers.engine.parts import Parts

_FILTERS = ("driver", "id", "label", "name", "scope", "type", "dangling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A running container in a network, with its place there."""

    id: str
    name: str
    endpoint: Endpoint


def members(parts: Parts, network_id: str) -> list[Member]:
    """Return the running containers that are in a network, by name."""
    ids, found = parts.store.records.addresses(network_id), []
    for row in parts.store.records.containers():
        if row.id in ids and launch.state(parts, row.id).status in ("running", "paused", "restarting"):
            document = _document(row.document)
            found += [Member(id=row.id, name=row.name, endpoint=e) for e in document.endpoints if e.network_id == network_id]
    return sorted(found, key=lambda member: member.name)


def wanted_by_containers(parts: Parts) -> set[str]:
    """Return the names of networks that a container is in or will be in at its next start."""
    return {place.network for row in parts.store.records.containers() for place in _document(row.document).wanted()}


def inspected(parts: Parts, network: Network, document: NetworkDocument | None) -> dict[str, JSON]:
    """Return a network in the Engine API's shape; the built-in ones and a default one that nobody used yet have no document."""
    inside = members(parts, network.id) if document else []
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": network.ipv6,
        "IPAM": {"Driver": "default", "Options": {}, "Config": _pools(document) if document else []},
        "Internal": network.internal,
        "Attachable": bool(document and document.attachable),
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {member.id: _member(member) for member in inside},
        "Options": dict(document.options) if document else {},
        "Labels": dict(network.labels),
    }


def _pools(document: NetworkDocument) -> list[JSON]:
    pool: dict[str, JSON] = {"Subnet": document.subnet, "Gateway": document.gateway}
    if document.ip_range:
        pool["IPRange"] = document.ip_range
    if document.aux_addresses:
        pool["AuxiliaryAddresses"] = dict(document.aux_addresses)
    six: dict[str, JSON] = {"Subnet": document.subnet6, "Gateway": document.gateway6}
    return [pool, six] if document.subnet6 else [pool]


def _member(member: Member) -> dict[str, JSON]:
    place = member.endpoint
    return {
        "Name": member.name,
        "EndpointID": place.id_for(member.id),
        "MacAddress": place.mac,
        "IPv4Address": f"{place.address}/{place.prefix}" if place.address else "",
        "IPv6Address": f"{place.address6}/{place.prefix6}" if place.address6 else "",
    }


def chosen(
    networks: Iterable[Network], names: Sequence[str] | None, ids: Sequence[str] | None, filters: Mapping[str, object] | None
) -> list[Network]:
    """Return the networks that docker-py's ``names``, ``ids`` and ``filters`` leave; InvalidArgument for an unknown filter."""
    wanted = {key: values(value) for key, value in (filters or {}).items()}
    for key in wanted.keys() - set(_FILTERS):
        raise InvalidArgument(f"filter {key!r} is not understood", hint="use " + ", ".join(_FILTERS))
    found = [n for n in networks if (not names or n.name in names) and (not ids or any(n.id.startswith(i) and i for i in ids))]
    return [n for n in found if all(_fits(n, key, words) for key, words in wanted.items())]


def _fits(network: Network, key: str, words: Sequence[str]) -> bool:
    if key == "label":
        pairs = [value.partition("=") for value in words]
        return all(name in network.labels and (not eq or network.labels[name] == text) for name, eq, text in pairs)
    if key == "dangling":
        unused = network.name not in BUILT_IN and not network.containers
        return any(unused == (value.lower() in ("true", "1")) for value in words)
    kind = "builtin" if network.name in BUILT_IN else "custom"
    exact = {"driver": network.driver, "scope": "local", "type": kind}
    if key in exact:
        return exact[key] in words
    text = network.id if key == "id" else network.name
    return any(value and value in text for value in words)


def _document(text: str) -> ContainerDocument:
    return ContainerDocument.from_json(untrusted_json(text.encode(), what="container record"))

"""What may be asked of a new network: docker-py's ``IPAMConfig`` or plain words, checked into its record."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.lean import replace
from notebook_containers.network.ipam import parse_subnet

if TYPE_CHECKING:
    from notebook_containers.engine.endpoints import NetworkDocument

_POOL = {"Subnet": "subnet", "Gateway": "gateway", "IPRange": "ip_range", "AuxiliaryAddresses": "aux_addresses"}


def network_document(
    wanted: NetworkDocument, ipam: Mapping[str, object] | None, given: Mapping[str, object], *, ipv6: bool
) -> NetworkDocument:
    """Return the record with its subnet, gateway, range and kept addresses; raises InvalidArgument naming what contradicts."""
    if wanted.driver != "bridge":
        raise Unsupported(f"network driver {wanted.driver!r} is not supported", hint="use bridge")
    if ipv6:
        raise Unsupported("IPv6 networks are not supported", hint="leave out --ipv6")
    for name in wanted.options:
        raise Unsupported(f"network option {name!r} is not supported", hint="leave it out")
    words = _merged(ipam, given)
    aux = _aux(words["aux_addresses"])
    document = replace(
        wanted,
        subnet=_one(words["subnet"], "subnet"),
        gateway=_one(words["gateway"], "gateway"),
        ip_range=_one(words["ip_range"], "ip-range"),
        aux_addresses=aux,
    )
    return _checked(document)


def _merged(ipam: Mapping[str, object] | None, given: Mapping[str, object]) -> dict[str, list[object]]:
    """Return every value of both forms, by docker-py's plain names."""
    found: dict[str, list[object]] = {name: _values(given.get(name)) for name in _POOL.values()}
    config = (ipam or {}).get("Config") or ()
    if (ipam or {}).get("Driver") not in (None, "", "default"):
        raise Unsupported(f"IPAM driver {(ipam or {})['Driver']!r} is not supported", hint="leave it out: addresses come from the store")
    for pool in config if isinstance(config, Sequence) else ():
        for key, value in pool.items() if isinstance(pool, Mapping) else ():
            if key not in _POOL:
                raise InvalidArgument(f"IPAM option {key!r} is not understood", hint="use " + ", ".join(_POOL))
            found[_POOL[key]] += _values(value)
    return found


def _values(value: object) -> list[object]:
    if not value:
        return []
    return [value] if isinstance(value, (str, Mapping)) else list(value) if isinstance(value, Sequence) else [value]


def _one(values: Sequence[object], what: str) -> str:
    if len(values) > 1:
        raise InvalidArgument(f"a bridge network has one {what}, and {len(values)} were given", hint=f"give --{what} once")
    return str(values[0]) if values else ""


def _aux(values: Sequence[object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        for name, address in value.items() if isinstance(value, Mapping) else ():
            found[str(name)] = str(address)
    return found


def _checked(document: NetworkDocument) -> NetworkDocument:
    if not document.subnet:
        for flag, value in {"gateway": document.gateway, "ip-range": document.ip_range, "aux-address": document.aux_addresses}.items():
            if value:
                raise InvalidArgument(f"--{flag} needs the --subnet that it lies in", hint="give both")
        return replace(document, chosen=True)
    subnet = parse_subnet(document.subnet)
    for what, text in (("gateway", document.gateway), *(("aux-address", text) for text in document.aux_addresses.values())):
        if text:
            _check_inside(subnet, what, text)
    if document.ip_range:
        _check_range(subnet, document.ip_range)
    return replace(document, subnet=str(subnet))


def _check_inside(subnet: ipaddress.IPv4Network, what: str, text: str) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as err:
        raise InvalidArgument(f"--{what} {text!r} is no IP address") from err
    if address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
        raise InvalidArgument(f"--{what} {text} is no host of {subnet}", hint="choose one inside the subnet")


def _check_range(subnet: ipaddress.IPv4Network, text: str) -> None:
    try:
        part = ipaddress.ip_network(text)
    except ValueError as err:
        raise InvalidArgument(f"--ip-range {text!r} is no range: {err}", hint='write it as "10.1.2.128/25"') from err
    if not isinstance(part, ipaddress.IPv4Network) or not part.subnet_of(subnet):
        raise InvalidArgument(f"--ip-range {text} is no part of {subnet}", hint="choose a part of the subnet")

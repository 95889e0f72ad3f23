"""What may be asked of a new network: docker-py's ``IPAMConfig`` or plain words, checked into its record."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.lean import replace
from notebook_containers.network.ipam import choose_subnet6, parse_subnet, parse_subnet6

if TYPE_CHECKING:
    from notebook_containers.engine.network_document import NetworkDocument

_POOL = {"Subnet": "subnet", "Gateway": "gateway", "IPRange": "ip_range", "AuxiliaryAddresses": "aux_addresses"}
_OPTIONS = {
    "icc": "icc",
    "enable_icc": "icc",
    "mtu": "mtu",
    "masquerade": "masquerade",
    "enable_ip_masquerade": "masquerade",
}
_MODES = {"macvlan": ("bridge", "private", "vepa", "passthru"), "ipvlan": ("l2", "l3", "l3s")}
_LEAST_MTU, _MOST_MTU = 1280, 65535


def network_document(
    wanted: NetworkDocument, ipam: Mapping[str, object] | None, given: Mapping[str, object], *, ipv6: bool
) -> NetworkDocument:
    """Return the record with its subnets, gateways, range, kept addresses and options; raises InvalidArgument naming what contradicts."""
    if wanted.driver not in ("bridge", *_MODES):
        raise Unsupported(f"network driver {wanted.driver!r} is not supported", hint="use bridge, macvlan or ipvlan")
    words = _merged(ipam, given)
    subnets, gateways = _by_version(words["subnet"]), _by_version(words["gateway"])
    if subnets[6] and not ipv6:
        raise InvalidArgument(f"--subnet {subnets[6][0]} is one of IPv6", hint="add --ipv6")
    document = replace(
        wanted,
        subnet=_one(subnets[4], "subnet"),
        gateway=_one(gateways[4], "gateway"),
        ip_range=_one(_by_version(words["ip_range"])[4], "ip-range"),
        aux_addresses=_aux(words["aux_addresses"]),
        options=bridge_options(wanted.options) if wanted.driver == "bridge" else direct_options(wanted.driver, wanted.options),
    )
    if wanted.driver in _MODES and not document.subnet:
        raise InvalidArgument(
            f"a {wanted.driver} network needs the --subnet of the LAN that it is in", hint="see ip route; give --gateway too"
        )
    return _checked(_with_ipv6(document, _one(subnets[6], "subnet"), _one(gateways[6], "gateway")) if ipv6 else document)


def bridge_options(given: Mapping[str, str]) -> dict[str, str]:
    """Return Docker's options of a bridge by their short names, checked: ``icc``, ``mtu``, ``masquerade``."""
    found: dict[str, str] = {}
    for name, value in given.items():
        short = _OPTIONS.get(name.removeprefix("com.docker.network.bridge.").removeprefix("com.docker.network.driver."))
        if short is None:
            raise Unsupported(f"network option {name!r} is not supported", hint="use " + ", ".join(sorted(set(_OPTIONS.values()))))
        if short == "mtu":
            if not value.isdecimal() or not _LEAST_MTU <= int(value) <= _MOST_MTU:
                raise InvalidArgument(f"{name}={value} is no packet size", hint=f"choose {_LEAST_MTU} to {_MOST_MTU}")
            found[short] = str(int(value))
        elif value.lower() not in ("true", "false"):
            raise InvalidArgument(f"{name}={value} is not understood", hint="write true or false")
        else:
            found[short] = value.lower()
    return found


def direct_options(driver: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the options of a macvlan or ipvlan network, checked: ``parent``, a link of this machine, and ``mode``."""
    unknown = set(given) - {"parent", f"{driver}_mode", "mode"}
    if unknown:
        raise Unsupported(f"network option {sorted(unknown)[0]!r} is not supported", hint=f"use parent, {driver}_mode")
    mode = given.get(f"{driver}_mode") or given.get("mode") or _MODES[driver][0]
    if mode not in _MODES[driver]:
        raise InvalidArgument(f"{driver}_mode={mode} is not understood", hint="use " + ", ".join(_MODES[driver]))
    if not given.get("parent"):
        raise InvalidArgument(f"a {driver} network needs a link of this machine to be a part of", hint="name it: -o parent=eth0")
    return {"parent": given["parent"], "mode": mode}


def _by_version(values: Sequence[object]) -> dict[int, list[object]]:
    """Return texts of IPv4 and of IPv6; what is neither is left to be refused as IPv4."""
    return {4: [value for value in values if ":" not in str(value)], 6: [value for value in values if ":" in str(value)]}


def _with_ipv6(document: NetworkDocument, subnet: str, gateway: str) -> NetworkDocument:
    if gateway and not subnet:
        raise InvalidArgument("--gateway needs the --subnet that it lies in", hint="give both")
    network = parse_subnet6(subnet or choose_subnet6(document.id))
    chosen = gateway or str(network.network_address + 1)
    if gateway and ipaddress.IPv6Address(gateway) not in network:
        raise InvalidArgument(f"--gateway {gateway} is no host of {network}", hint="choose one inside the subnet")
    return replace(document, subnet6=str(network), gateway6=str(ipaddress.IPv6Address(chosen)))


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
        for name, address in (value if isinstance(value, Mapping) else {str(value): ""}).items():
            if not address:
                raise InvalidArgument(f"--aux-address {name!r} has no address", hint="write NAME=ADDRESS, as printer=10.1.2.9")
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
        if text and not (what == "aux-address" and ":" in text):
            _check_inside(subnet, what, text)
    if document.ip_range:
        _check_range(subnet, document.ip_range)
    return replace(document, subnet=str(subnet))


def _check_inside(subnet: ipaddress.IPv4Network, what: str, text: str) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as err:
        raise InvalidArgument(f"--{what} {text!r} is no IP address", hint=f"choose one inside {subnet}") from err
    if address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
        raise InvalidArgument(f"--{what} {text} is no host of {subnet}", hint="choose one inside the subnet")


def _check_range(subnet: ipaddress.IPv4Network, text: str) -> None:
    try:
        part = ipaddress.ip_network(text)
    except ValueError as err:
        raise InvalidArgument(f"--ip-range {text!r} is no range: {err}", hint='write it as "10.1.2.128/25"') from err
    if not isinstance(part, ipaddress.IPv4Network) or not part.subnet_of(subnet):
        raise InvalidArgument(f"--ip-range {text} is no part of {subnet}", hint="choose a part of the subnet")

"""Words about networks: which networks a container is to be in, and as what; ``--network`` and docker-py's ``networking_config``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.network.names import check_alias
from notebook_containers.oci.documents import Document

if TYPE_CHECKING:
    from notebook_containers.engine.keywords import CreateKeywords, EndpointKeywords

DEFAULT = "bridge"
BUILT_IN = ("bridge", "host", "none")
_JOIN = "container:"
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.ASCII | re.IGNORECASE)
_HINT = "write NAME, NAME:alias=db,ip=10.1.2.3 or name=NAME,alias=db,ip=10.1.2.3"
_KEYS: Mapping[str, str] = {
    "alias": "aliases",
    "ip": "ipv4_address",
    "ip6": "ipv6_address",
    "mac-address": "mac_address",
    "link-local-ip": "link_local_ips",
    "driver-opt": "driver_opt",
    "gw-priority": "gw_priority",
    "link": "links",
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Attachment(Document):
    """What is asked of a container's place in one network; empty text means "as the network gives"."""

    network: str
    aliases: tuple[str, ...] = ()
    address: str = ""
    address6: str = ""
    mac: str = ""
    link_local: tuple[str, ...] = ()
    driver_options: Mapping[str, str] = field(default_factory=dict)
    gw_priority: int = 0
    links: Mapping[str, str] = field(default_factory=dict)
    """Names that this container alone looks up there, and whose each is: a container's name or alias."""


def mode(given: CreateKeywords) -> str:
    """Return the network's name or mode; without one the first of ``networking_config``, or the default network."""
    word = given.get("network") or given.get("network_mode") or next(iter(given.get("networking_config") or {}), "")
    return DEFAULT if word in ("", "default") else word


def is_own(network: str) -> bool:
    """Tell whether the word names a network that a container has a place in: not host, none or another container's."""
    return network not in ("host", "none") and not network.startswith(_JOIN)


def attachment(network: str, given: EndpointKeywords | Mapping[str, object] | None) -> Attachment:
    """Return the checked place; ``given`` has docker-py's names (``aliases``, ``ipv4_address``) or the Engine API's (``IPAMConfig``)."""
    words = _plain(given or {})
    unknown = set(words) - set(_KEYS.values())
    if unknown:
        raise InvalidArgument(f"network {network}: unknown option {sorted(unknown)[0]!r}", hint="use " + ", ".join(_KEYS.values()))
    found = Attachment(
        network=network,
        aliases=tuple(dict.fromkeys(check_alias(alias) for alias in _texts(words.get("aliases")))),
        address=_address(words.get("ipv4_address"), 4),
        address6=_address(words.get("ipv6_address"), 6),
        mac=mac(words.get("mac_address")),
        link_local=tuple(_link_local(text) for text in _texts(words.get("link_local_ips"))),
        driver_options=_options(words.get("driver_opt")),
        gw_priority=_whole(words.get("gw_priority")),
        links=_links(words.get("links")),
    )
    _check_network(found)
    return found


def attachments(
    network: str,
    config: Mapping[str, EndpointKeywords | Mapping[str, object] | None] | None,
    *,
    mac_address: str | None = None,
) -> tuple[Attachment, ...]:
    """Return every place asked for, that in ``network`` first; empty when it is the default alone, or none of the container's own."""
    given = dict(config or {})
    if not is_own(network):
        if given.keys() - {network} or any(given.values()) or mac_address:
            raise InvalidArgument(f"--network {network} cannot be combined with another network or an address", hint="leave out one")
        return ()
    order = [network, *(name for name in given if name != network)]
    for name in order[1:]:
        if not is_own(name):
            raise InvalidArgument(f"--network {name} cannot be combined with another network", hint="leave out one")
    found = [attachment(name, given.get(name)) for name in order]
    if mac_address:
        found[0] = replace(found[0], mac=mac(mac_address))
    return () if found == [Attachment(network=DEFAULT)] else tuple(found)


def parse(word: str) -> tuple[str, dict[str, object]]:
    """Return the network's name and docker-py's keywords of one ``--network`` word, Docker's form or ``NAME:key=value,…``."""
    head, colon, rest = word.partition(":")
    if word.startswith(_JOIN) or not (colon or "=" in word):
        return word, {}
    pairs = word if "=" in head else f"name={head},{rest}" if colon else word
    name, found = "", dict[str, object]()
    lists: dict[str, list[str]] = {}
    for pair in pairs.split(","):
        key, equals, value = pair.partition("=")
        if not equals or not value:
            raise InvalidArgument(f"--network {word!r} is not understood", hint=_HINT)
        if key == "name":
            name = value
        elif key in ("alias", "link-local-ip", "driver-opt", "link"):
            lists.setdefault(_KEYS[key], []).append(value)
        elif key in _KEYS:
            found[_KEYS[key]] = value
        else:
            raise InvalidArgument(f"--network {word!r}: {key!r} is not understood", hint=_HINT)
    if not name:
        raise InvalidArgument(f"--network {word!r} names no network", hint=_HINT)
    return name, {**found, **lists}


def keywords(words: Mapping[str, object]) -> EndpointKeywords:
    """Return docker-py's keywords of one place, as :func:`parse` and flags have them, in their types."""
    return {
        "aliases": _texts(words.get("aliases")),
        "ipv4_address": str(words.get("ipv4_address") or "") or None,
        "ipv6_address": str(words.get("ipv6_address") or "") or None,
        "mac_address": str(words.get("mac_address") or "") or None,
        "link_local_ips": _texts(words.get("link_local_ips")),
        "driver_opt": _options(words.get("driver_opt")),
        "gw_priority": _whole(words.get("gw_priority")),
        "links": _texts(words.get("links")),
    }


def mac(value: object) -> str:
    """Return a MAC address in lower case with colons; empty for none. A group address is no container's."""
    if not value:
        return ""
    text = str(value).lower().replace("-", ":")
    if not _MAC.fullmatch(text):
        raise InvalidArgument(f"{value!r} is no MAC address", hint="write it as 02:42:ac:11:00:02")
    if int(text[:2], 16) & 1 or text == "00:00:00:00:00:00":
        raise InvalidArgument(f"MAC address {value} is a group's or nobody's", hint="begin it with 02")
    return text


def exposed(given: Sequence[str | int] | None) -> tuple[str, ...]:
    """Return ``--expose`` words as the image config has them: ``80/tcp``, a range as its ports."""
    found = []
    for word in given or ():
        match = _PORT.fullmatch(str(word))
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not 1 <= first <= last <= 65535:
            raise InvalidArgument(f"--expose {word!r} is no port", hint="write 80, 80/udp or 8000-8010")
        found += [f"{port}/{(match[3] or 'tcp').lower()}" for port in range(first, last + 1)]
    return tuple(dict.fromkeys(found))


def _plain(given: Mapping[str, object]) -> dict[str, object]:
    """Return docker-py's names for those of the Engine API."""
    api = {"Aliases": "aliases", "MacAddress": "mac_address", "DriverOpts": "driver_opt", "GwPriority": "gw_priority", "Links": "links"}
    ipam = {"IPv4Address": "ipv4_address", "IPv6Address": "ipv6_address", "LinkLocalIPs": "link_local_ips"}
    told = {"NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen"}
    found: dict[str, object] = {}
    for key, value in given.items():
        inner = given["IPAMConfig"] if key == "IPAMConfig" else None
        if isinstance(inner, Mapping):
            found |= {ipam[k]: v for k, v in inner.items() if k in ipam}
        elif key not in told | {"IPAMConfig", "DNSNames"}:
            found[api.get(key, key)] = value
    return {key: value for key, value in found.items() if value is not None}


def _check_network(found: Attachment) -> None:
    if found.network != DEFAULT:
        return
    for flag, value in {"--network-alias": found.aliases, "--ip": found.address, "--ip6": found.address6, "links": found.links}.items():
        if value:
            raise InvalidArgument(
                f"{flag} works on user-defined networks only, not on the default one",
                hint="make a network (nbc network create NAME) and use --network NAME",
            )


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(item) for item in value] if isinstance(value, Iterable) else [str(value)]


def _links(value: object) -> dict[str, str]:
    """Return name → whose it is of docker-py's ``{CONTAINER: NAME}``, pairs or words ``CONTAINER:NAME``; InvalidArgument for another."""
    pairs = value.items() if isinstance(value, Mapping) else map(_link, value if isinstance(value, (list, tuple)) else _texts(value))
    found: dict[str, str] = {}
    for target, name in pairs:
        if not target:
            raise InvalidArgument(f"the link to {name!r} names no container", hint="write it as CONTAINER:NAME")
        found[check_alias(str(name or target)).lower()] = str(target).lower()
    return found


def _link(value: object) -> tuple[object, object]:
    if isinstance(value, (list, tuple)) and len(value) == 2:  # docker-py's other form
        return value[0], value[1]
    target, _, name = str(value).partition(":")
    return target, name


def _address(value: object, version: int) -> str:
    if not value:
        return ""
    try:
        found = ipaddress.ip_address(str(value))
    except ValueError as err:
        raise InvalidArgument(
            f"{value!r} is no IPv{version} address", hint=f"write it as {'10.0.0.5' if version == 4 else '2001:db8::5'}"
        ) from err
    if found.version != version:
        raise InvalidArgument(f"{value} is an IPv{found.version} address", hint=f"give it with --ip{'6' if found.version == 6 else ''}")
    return str(found)


def _link_local(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError as err:
        raise InvalidArgument(f"{text!r} is no IP address", hint="use one of 169.254.0.0/16 or fe80::/10") from err
    if not found.is_link_local:
        raise InvalidArgument(f"{text} is no link-local address", hint="use one of 169.254.0.0/16 or fe80::/10")
    return str(found)


def _options(value: object) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(key): str(item) for key, item in value.items()}
    return {text.partition("=")[0]: text.partition("=")[2] for text in _texts(value)}


def _whole(value: object) -> int:
    try:
        return int(str(value or 0))
    except ValueError as err:
        raise InvalidArgument(f"gw-priority {value!r} is no number") from err

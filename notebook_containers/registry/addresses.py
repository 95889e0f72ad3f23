"""Who a host is: this machine, a private address, the same site as another; pure but for one look-up."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CLOUD = frozenset({"168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"})
"""Where Azure, Alibaba, Oracle and Amazon answer questions about a machine, beside 169.254.169.254."""


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port: what must be equal for credentials to be sent."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(netloc: str) -> bool:
    """Tell whether ``host[:port]`` is this machine: localhost or a literal loopback address; other names are not looked up."""
    host = urlsplit(f"//{netloc}").hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(host: str) -> bool:
    """Tell whether any address of the host is not a public one; a name that cannot be looked up counts as public (it will fail)."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(not is_public_address(str(address[0])) for *_, address in found)


def is_public_address(address: str) -> bool:
    """Tell whether a literal address is one of the whole internet's; an IPv4 address inside an IPv6 one counts as itself."""
    found = _itself(address)
    return found.is_global and not found.is_multicast


def is_metadata_address(address: str) -> bool:
    """Tell whether a literal address is link-local or a cloud's own, where credentials of the machine are given to whoever asks."""
    found = _itself(address)
    return found.is_link_local or found.is_multicast or str(found) in _CLOUD


def _itself(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address; of an IPv4 address inside an IPv6 one (mapped, or NAT64 of RFC 6052) the IPv4 address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return found.ipv4_mapped
        if found in _NAT64:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found


def same_site(one: str, other: str) -> bool:
    """Tell whether two host names belong together: equal, or with the same registrable domain, judged cautiously without a suffix list."""
    if one == other:
        return True
    left, right = one.split("."), other.split(".")
    # co.uk, com.au, gov.br are suffixes, not sites: a short second label under a country needs a third
    labels = 3 if len(left[-1]) == 2 and len(left) > 1 and len(left[-2]) <= 3 else 2
    numeric = one.replace(".", "").isdigit() or ":" in one
    return not numeric and len(left) >= labels and len(right) >= labels and left[-labels:] == right[-labels:]


def bypasses_proxy(host: str, exceptions: str) -> bool:
    """Tell whether ``NO_PROXY``'s value excepts a host: ``*``, names with everything below them, addresses, networks (10.0.0.0/8)."""
    name, _, port = host.lower().rpartition(":") if host.count(":") == 1 else (host.lower(), "", "")
    for word in filter(None, (part.strip().lower() for part in exceptions.split(","))):
        bare, _, wanted = word.rpartition(":") if word.count(":") == 1 else (word, "", "")
        bare = bare.removeprefix("*").removeprefix(".")
        if word == "*" or (wanted in ("", port) and (name == bare or name.endswith(f".{bare}"))) or _in_network(name, word):
            return True
    return False


def _in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False

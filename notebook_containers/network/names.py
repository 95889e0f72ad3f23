"""The files by which a container finds names: resolv.conf and hosts, as text from text."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from notebook_containers.errors import InvalidArgument

RESOLVER = "127.0.0.11"
"""Where a container of a user-defined network asks, in its own network namespace; the address is Docker's, and images know it."""
FALLBACK_SERVERS = ("1.1.1.1", "9.9.9.9")
_MAX_SERVERS = 3
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
HOST_GATEWAY = "host-gateway"
"""What ``--add-host`` calls the host's address in the container's network."""
_OF_THE_HOST = frozenset({"host.docker.internal", "gateway.docker.internal", "host.containers.internal", HOST_GATEWAY})
_RESERVED = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})


def resolv_conf(
    host_text: str, *, upstream_text: str = "", servers: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = ()
) -> str:
    """Return a container's resolv.conf from the host's.

    A name server on a loopback address is the host's own and cannot be reached from a container's network: it is left out. When none
    is left, those of ``upstream_text`` are taken (what systemd-resolved keeps in /run/systemd/resolve/resolv.conf), then public ones,
    and a comment line says so. ``servers``, ``search`` (one dot: none) and ``options`` replace the host's. Source: resolv.conf(5).
    """
    if servers:
        chosen, note = [_address(s) for s in servers], ""
    else:
        chosen, note = _servers(host_text, upstream_text)
    lines = [f"# {note}"] if note else []
    lines += [f"nameserver {server}" for server in chosen[:_MAX_SERVERS]]
    domains = list(search) or _words(host_text, "search") or _words(host_text, "domain")
    domains = [] if domains == ["."] else [d for d in domains if _LABEL.fullmatch(d) or d == "."]
    lines += [f"search {' '.join(domains)}"] if domains else []
    options = list(options) or _words(host_text, "options")
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def without_ndots(host_text: str) -> str:
    """Return the host's resolver configuration for a container that asks :data:`RESOLVER`: a name without a dot is asked as it is.

    So the name of a container is found at once and leaves the machine with no search domain behind it, unless the host says else.
    """
    options = [word for word in _words(host_text, "options") if not word.startswith("ndots:")]
    return f"{host_text}\noptions {' '.join([*options, 'ndots:0'])}\n"


def _servers(host_text: str, upstream_text: str) -> tuple[list[str], str]:
    chosen = _reachable(host_text)
    if chosen:
        return chosen, ""
    chosen = _reachable(upstream_text)
    if chosen:
        return chosen, "the host's resolver listens on loopback only; these are the servers it asks"
    return list(FALLBACK_SERVERS), "the host names no server that a container can reach; these are public ones"


def _reachable(resolv_text: str) -> list[str]:
    """The name servers of a resolv.conf that are IPv4 (our networks have no IPv6) and not on loopback."""
    result = []
    for word in _all_words(resolv_text, "nameserver"):
        try:
            server = ipaddress.IPv4Address(word)
        except ValueError:
            continue
        if not server.is_loopback and not server.is_unspecified:
            result.append(str(server))
    return result


def hosts_file(hostname: str, addresses: Sequence[str] = (), extra: Iterable[tuple[str, str]] = ()) -> str:
    """Return a container's hosts file: localhost, its own name at each address (127.0.1.1 without one), and ``extra`` names.

    Raises InvalidArgument for a name that is no host name or stands for loopback, and for a bad address (no line can be smuggled in).
    """
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    if _name(hostname) not in _RESERVED:
        lines += [f"{_address(address)}\t{hostname}" for address in addresses or ("127.0.1.1",)]
    for name, target in extra:
        if _name(name) in _RESERVED:
            raise InvalidArgument(f"host name {name!r} is loopback's own", hint="choose another name")
        lines.append(f"{_address(target)}\t{name}")
    return "\n".join(lines) + "\n"


def check_domain(text: str) -> str:
    """Return a domain name that may stand in a resolver's configuration; InvalidArgument for another."""
    _name(text)
    return text


def check_alias(text: str) -> str:
    """Return a further name of a container in a network; InvalidArgument for what is no name, or another's (localhost, the host)."""
    if _name(text) in _RESERVED | _OF_THE_HOST:
        raise InvalidArgument(f"{text!r} stands for something else and cannot be a container's name", hint="choose another name")
    return text


def address_in_hosts(hosts_text: str, name: str) -> str:
    """Return the first address of a name in a hosts file, or an empty text."""
    for line in hosts_text.splitlines():
        words = line.partition("#")[0].split()
        if name.lower() in (word.lower() for word in words[1:]):
            return words[0]
    return ""


def servers_and_search(resolv_text: str) -> tuple[list[str], list[str]]:
    """Return the name servers and the search domains of a resolv.conf."""
    return _all_words(resolv_text, "nameserver"), _words(resolv_text, "search")


def _name(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise InvalidArgument(f"{text!r} is no host name", hint="letters, digits, dots, dashes and underscores only")
    return text.lower()


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as err:
        raise InvalidArgument(f"{text!r} is no IP address", hint="a name's address is written as 10.0.0.5 or 2001:db8::5") from err


def _words(resolv_text: str, keyword: str) -> list[str]:
    """The words of the last line with that keyword: as the resolver does, the last one wins."""
    found: list[str] = []
    for line in resolv_text.splitlines():
        words = line.split()
        if words and words[0] == keyword:
            found = words[1:]
    return found


def _all_words(resolv_text: str, keyword: str) -> list[str]:
    lines = (line.split() for line in resolv_text.splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == keyword]

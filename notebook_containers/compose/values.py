"""Checks of single values, so that a wrong one is told at its place in the file and not when the container is made.

Each takes the text as written and raises InvalidArgument; a text with a variable left in it was let pass before.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from notebook_containers.compose import units
from notebook_containers.engine import device_words, limit_words, words
from notebook_containers.errors import InvalidArgument

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}\Z", re.ASCII)
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?\Z", re.ASCII)
_PLATFORM = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+){0,2}\Z", re.ASCII)
_PROTOCOLS = ("", "tcp", "udp", "sctp")


def address(word: str) -> None:
    """An IP address."""
    try:
        ipaddress.ip_address(word)
    except ValueError as err:
        raise InvalidArgument(f"{word!r} is no IP address", hint="write it as 10.0.0.5 or 2001:db8::5") from err


def address4(word: str) -> None:
    """An address of version 4."""
    address(word)
    if ":" in word:
        raise InvalidArgument(f"{word!r} is an address of version 6", hint="ipv6_address takes it")


def address6(word: str) -> None:
    """An address of version 6."""
    address(word)
    if ":" not in word:
        raise InvalidArgument(f"{word!r} is an address of version 4", hint="ipv4_address takes it")


def subnet(word: str) -> None:
    """A network with its prefix."""
    try:
        found = ipaddress.ip_network(word, strict=False)
    except ValueError as err:
        raise InvalidArgument(f"{word!r} is no subnet", hint="write it as 10.5.0.0/16") from err
    if "/" not in word or ipaddress.ip_interface(word).ip != found.network_address:  # bits are set behind the prefix
        raise InvalidArgument(f"{word!r} is no subnet", hint=f"write it as {found}")


def mac(word: str) -> None:
    """A link's address."""
    if not _MAC.match(word):
        raise InvalidArgument(f"{word!r} is no MAC address", hint="write it as 02:42:ac:11:00:03")


def port(number: int) -> None:
    """The number of a port inside."""
    if not 0 < number < 65536:
        raise InvalidArgument(f"{number} is no port", hint="ports go from 1 to 65535")


def port_range(word: str) -> None:
    """A port of the host or a range to choose from."""
    match = _PORTS.match(word)
    if match is None or not 0 <= int(match[1]) <= int(match[2] or match[1]) < 65536:
        raise InvalidArgument(f"{word!r} is neither a port nor a range of them", hint="write 8080, or 8000-8010")


def exposed(word: str) -> None:
    """A port or a range, with its protocol."""
    ports, _, protocol = word.partition("/")
    if protocol.lower() not in _PROTOCOLS:
        raise InvalidArgument(f"{word!r}: {protocol!r} is no protocol of ports", hint="tcp, udp and sctp are")
    port_range(ports)


def platform(word: str) -> None:
    """A system, a processor and its variant."""
    if not _PLATFORM.match(word):
        raise InvalidArgument(f"{word!r} is no platform", hint="write linux/amd64")


def inside(word: str) -> None:
    """An absolute path in the container."""
    if not word.startswith("/"):
        raise InvalidArgument(f"{word!r} is no absolute path", hint="it is a path inside the container")


def granted(word: str) -> None:
    """Where a secret or config is seen: an absolute path, or a name below its directory."""
    if ".." in word.split("/"):
        raise InvalidArgument(f"{word!r} leads out of its directory", hint="write an absolute path")


def tmpfs(word: str) -> None:
    """A path inside, and mount options behind a colon."""
    inside(word.partition(":")[0])


def cpus(word: str) -> None:
    """Numbers of CPUs."""
    words.cpuset(word)


def device_rule(word: str) -> None:
    """A rule of the devices' cgroup."""
    device_words.rules([word])


def oom_score(number: int) -> None:
    """How readily the kernel ends it when memory is short."""
    limit_words.oom_score(number)


def swappiness(number: int) -> None:
    """How readily its memory is swapped out."""
    if number != -1:
        limit_words.swappiness(number)


def count(number: int) -> None:
    """A number of containers, tries or processes."""
    if number < 0:
        raise InvalidArgument(f"{number} is less than none")


def integer(check: Callable[[int], None]) -> Callable[[str], int]:
    """Return a conversion to a whole number that a check is content with."""

    def convert(word: str) -> int:
        found = units.integer(word)
        check(found)
        return found

    return convert

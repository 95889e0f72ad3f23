"""Published ports: from Docker's words to mappings, from mappings to bound sockets that hold the port."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

from notebook_containers.errors import Conflict, InvalidArgument, NetworkError
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.documents import Document, always

LOOPBACK = "127.0.0.1"
_SHAPE = re.compile(
    r"(?:(?:\[(?P<ip6>[^\]]*)\]|(?P<ip4>[^:\[\]]*)):)?(?:(?P<host>[^:\[\]]*):)?(?P<container>[^:/\[\]]+)(?:/(?P<protocol>\w+))?"
)
_RANGE = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?", re.ASCII)
_HINT = 'write it as "8080:80", "127.0.0.1:8080:80/udp", "8000-8002:80-82" or "80"'
_BACKLOG = 128


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class PortMapping(Document):
    """One port of the host that leads to one port of a container; ``host_port`` 0 asks for any free one, ``protocol`` is tcp or udp."""

    host_ip: str = field(default=LOOPBACK, metadata=always())
    host_port: int = field(default=0, metadata=always())
    container_port: int
    protocol: str = field(default="tcp", metadata=always())

    def __str__(self) -> str:
        host = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        return f"{host}:{self.host_port}->{self.container_port}/{self.protocol}"


def parse(text: str) -> tuple[PortMapping, ...]:
    """Return the mappings that a ``-p`` text means, as Docker's grammar: ``[[ip:][hostPort]:]containerPort[-range][/tcp|udp]``.

    Without an address the port listens on 127.0.0.1 (Docker: everywhere); ``0.0.0.0:8080:80`` opens it. Raises InvalidArgument.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is no port mapping", hint=_HINT)
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in {"tcp", "udp"}:
        raise InvalidArgument(f"{text!r}: protocol {protocol!r} cannot be published", hint="tcp and udp can")
    # "8080:80" matches with the port in the address's place: an address has dots, a colon, or a third part behind it.
    address, host = match["ip6"] or match["ip4"], match["host"]
    if host is None and address is not None and match["ip6"] is None:
        address, host = None, address
    inside = _ports(match["container"], text, lowest=1)
    outside = _ports(host, text, lowest=0) if host else [0] * len(inside)
    if len(outside) != len(inside):
        raise InvalidArgument(f"{text!r}: {len(outside)} host ports for {len(inside)} container ports", hint=_HINT)
    host_ip = _host_ip(address, text)
    pairs = zip(outside, inside, strict=True)
    return tuple(PortMapping(host_ip=host_ip, host_port=h, container_port=c, protocol=protocol) for h, c in pairs)


def _ports(word: str, text: str, *, lowest: int) -> list[int]:
    match = _RANGE.fullmatch(word)
    if match is None:
        raise InvalidArgument(f"{text!r}: {word!r} is no port", hint=_HINT)
    first = int(match["first"])
    last = int(match["last"] or first)
    if not lowest <= first <= last <= 65535:
        raise InvalidArgument(f"{text!r}: ports go from {lowest} to 65535, in rising order", hint=_HINT)
    return list(range(first, last + 1))


def _host_ip(address: str | None, text: str) -> str:
    if not address:
        return LOOPBACK
    try:
        return str(ipaddress.ip_address("127.0.0.1" if address == "localhost" else address))
    except ValueError as err:
        raise InvalidArgument(f"{text!r}: {address!r} is no IP address of this host", hint=_HINT) from err


def reserve(mappings: Sequence[PortMapping]) -> tuple[list[socket.socket], tuple[PortMapping, ...]]:
    """Bind every port (tcp ones listen) and return the sockets with the mappings as they became, real numbers in place of 0.

    A bound socket is the reservation: nobody else can have the port from here on. The caller closes the sockets or hands them to
    :func:`~notebook_containers.network.forward.start`. Raises Conflict naming port and holder; then nothing stays bound.
    """
    sockets: list[socket.socket] = []
    real: list[PortMapping] = []
    try:
        for mapping in mappings:
            bound = _bind(mapping)
            sockets.append(bound)
            real.append(replace(mapping, host_port=bound.getsockname()[1]))
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets, tuple(real)


def _bind(mapping: PortMapping) -> socket.socket:
    family = socket.AF_INET6 if ":" in mapping.host_ip else socket.AF_INET
    kind = socket.SOCK_STREAM if mapping.protocol == "tcp" else socket.SOCK_DGRAM
    bound = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if mapping.protocol == "tcp":
            # Passes over connections in TIME_WAIT; two listeners on one port it never allows. On UDP it would let a second one in.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((mapping.host_ip, mapping.host_port))
        if mapping.protocol == "tcp":
            bound.listen(_BACKLOG)
    except OSError as err:
        bound.close()
        raise _refusal(mapping, err) from err
    return bound


def _refusal(mapping: PortMapping, err: OSError) -> Conflict | NetworkError:
    number = f"port {mapping.host_port}" if mapping.host_port else "a free port"
    where = f"{number}/{mapping.protocol} on {mapping.host_ip}"
    if err.errno == errno.EADDRINUSE:
        who = holder(mapping.host_port, mapping.protocol)
        held = f", held by {who}" if who else ""
        return Conflict(f"{where} is in use{held}", hint="choose another host port, or leave it out to get a free one")
    if err.errno == errno.EADDRNOTAVAIL:
        return NetworkError(f"{where} cannot be published: the address is not this host's", hint="use 127.0.0.1 or 0.0.0.0")
    if err.errno == errno.EACCES:
        return NetworkError(f"{where} cannot be published: ports below 1024 need root", hint="choose a host port from 1024 up")
    return NetworkError(f"{where} cannot be published: {err.strerror}")


def holder(port: int, protocol: str = "tcp") -> str:
    """Return who has the port as "name (pid 123)", or an empty text when that cannot be seen (another user's process)."""
    inodes = set(_inodes(port, protocol))
    if not inodes:
        return ""
    own = f":{port}->".encode()
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                        return f"{_command(pid)} (pid {pid})"
        with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            # A forwarder of ours cannot be looked into (it may not be traced), but its arguments name its ports.
            words = file.read().split(b"\0")
            if b"notebook_containers.network.forwarder" in words and any(own in w and f"/{protocol}".encode() in w for w in words):
                return f"{_command(pid)} (pid {pid})"
    return ""


def _inodes(port: int, protocol: str) -> Iterator[str]:
    """Yield "socket:[inode]" of the sockets bound to the port, as /proc/net has them (proc_net_tcp(5))."""
    for table in (protocol, f"{protocol}6"):
        with suppress(OSError), open(f"/proc/thread-self/net/{table}", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                columns = line.split()
                listening = protocol == "udp" or columns[3] == "0A"
                if listening and int(columns[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{columns[9]}]"


def _command(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return "".join(c if c.isprintable() else "?" for c in file.read().strip())

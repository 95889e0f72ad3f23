"""Published ports: from Docker's words to mappings, from mappings to bound sockets that hold the port."""

from __future__ import annotations

import errno
import ipaddress
import os
import pwd
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from notebook_containers.errors import Conflict, InvalidArgument, NetworkError, Unsupported
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.documents import Document, always

LOOPBACK = "127.0.0.1"
PROTOCOLS = ("tcp", "udp", "sctp")
_SHAPE = re.compile(
    r"(?:(?:\[(?P<ip6>[^\]]*)\]|(?P<ip4>[^:\[\]]*)):)?(?:(?P<host>[^:\[\]]*):)?(?P<container>[^:/\[\]]+)(?:/(?P<protocol>\w+))?"
)
_RANGE = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?", re.ASCII)
_HINT = 'write it as "8080:80", "127.0.0.1:8080:80/udp", "8000-8002:80-82", "8000-8100:80" or "80"'
_BACKLOG = 128


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class PortMapping(Document):
    """One port of the host that leads to one port of a container; ``protocol`` is tcp, udp or sctp.

    ``host_port`` 0 asks for any free one, and with ``host_port_last`` for the first free one from ``host_port`` to there.
    """

    host_ip: str = field(default=LOOPBACK, metadata=always())
    host_port: int = field(default=0, metadata=always())
    container_port: int
    protocol: str = field(default="tcp", metadata=always())
    host_port_last: int = 0

    def __str__(self) -> str:
        last = f"-{self.host_port_last}" if self.host_port_last else ""
        return f"{self.host}:{self.host_port}{last}->{self.container_port}/{self.protocol}"

    @property
    def host(self) -> str:
        """The host's address as it stands before a port: IPv6 in brackets."""
        return f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip

    @property
    def place(self) -> tuple[str, str, int]:
        """What no two sockets of this machine can have: protocol, address, port."""
        return (self.protocol, self.host_ip, self.host_port)

    @property
    def only_local(self) -> bool:
        """Whether only programs on this machine can reach the port."""
        return ipaddress.ip_address(self.host_ip).is_loopback


def parse(text: str) -> tuple[PortMapping, ...]:
    """Return the mappings that a ``-p`` text means, as Docker's grammar: ``[[ip:][hostPort]:]containerPort[-range][/tcp|udp|sctp]``.

    Without an address the port listens on 127.0.0.1 (Docker: everywhere); ``0.0.0.0:8080:80`` opens it. A range of host ports for one
    container port means the first that is free. Raises InvalidArgument.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is no port mapping", hint=_HINT)
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgument(f"{text!r}: protocol {protocol!r} cannot be published", hint="tcp, udp and sctp can")
    # "8080:80" matches with the port in the address's place: an address has dots, a colon, or a third part behind it.
    address, host = match["ip6"] or match["ip4"], match["host"]
    if host is None and address is not None and match["ip6"] is None:
        address, host = None, address
    inside = _ports(match["container"], text, lowest=1)
    outside = _ports(host, text, lowest=0) if host else [0] * len(inside)
    host_ip = _host_ip(address, text)
    if len(inside) == 1 and len(outside) > 1:
        first, last = outside[0], outside[-1]
        return (PortMapping(host_ip=host_ip, host_port=first, container_port=inside[0], protocol=protocol, host_port_last=last),)
    if len(outside) != len(inside):
        raise InvalidArgument(f"{text!r}: {len(outside)} host ports for {len(inside)} container ports", hint=_HINT)
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


def unpublished(text: str, mappings: Sequence[PortMapping]) -> tuple[PortMapping, ...]:
    """Return those of the mappings that ``--unpublish`` means: a container's port ("80", "53/udp", "80-89") or a whole ``-p`` text.

    Raises InvalidArgument for text that is neither, and when no mapping is meant.
    """
    wanted = parse(text)
    whole = ":" in text
    found = tuple(m for m in mappings if any(_means(w, m, whole=whole) for w in wanted))
    if not found:
        known = ", ".join(map(str, mappings)) or "none"
        raise InvalidArgument(f"no published port is meant by {text!r}", hint=f"published are: {known}")
    return found


def _means(wanted: PortMapping, mapping: PortMapping, *, whole: bool) -> bool:
    if (wanted.container_port, wanted.protocol) != (mapping.container_port, mapping.protocol):
        return False
    return not whole or ((wanted.host_port or mapping.host_port), wanted.host_ip) == (mapping.host_port, mapping.host_ip)


def reserve(
    mappings: Sequence[PortMapping], *, who: Callable[[PortMapping], str] | None = None
) -> tuple[list[socket.socket], tuple[PortMapping, ...]]:
    """Bind every port (tcp ones listen) and return the sockets with the mappings as they became, real numbers in place of 0.

    A bound socket is the reservation: nobody else can have the port from here on. The caller closes the sockets or hands them to
    :func:`~notebook_containers.network.forward.start`. Raises Conflict naming port and holder, who is found by
    ``who`` (:func:`holder`); then nothing stays bound.
    """
    sockets: list[socket.socket] = []
    real: list[PortMapping] = []
    try:
        for mapping in mappings:
            bound = _bind_first(mapping, who or _who)
            sockets.append(bound)
            real.append(replace(mapping, host_port=bound.getsockname()[1], host_port_last=0))
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets, tuple(real)


def _bind_first(mapping: PortMapping, who: Callable[[PortMapping], str]) -> socket.socket:
    for port in range(mapping.host_port, mapping.host_port_last):
        with suppress(Conflict):
            return _bind(replace(mapping, host_port=port), lambda _: "")
    return _bind(replace(mapping, host_port=mapping.host_port_last or mapping.host_port), who)


def _who(mapping: PortMapping) -> str:
    return holder(mapping.host_port, mapping.protocol)


def _bind(mapping: PortMapping, who: Callable[[PortMapping], str]) -> socket.socket:
    family = socket.AF_INET6 if ":" in mapping.host_ip else socket.AF_INET
    bound = _socket(family, mapping)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if mapping.protocol != "udp":
            # Passes over connections in TIME_WAIT; two listeners on one port it never allows. On UDP it would let a second one in.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((mapping.host_ip, mapping.host_port))
        if mapping.protocol != "udp":
            bound.listen(_BACKLOG)
    except OSError as err:
        bound.close()
        raise _refusal(mapping, err, who) from err
    return bound


def _socket(family: socket.AddressFamily, mapping: PortMapping) -> socket.socket:
    kind = socket.SOCK_DGRAM if mapping.protocol == "udp" else socket.SOCK_STREAM
    try:
        return socket.socket(family, kind, socket.IPPROTO_SCTP if mapping.protocol == "sctp" else 0)
    except OSError as err:
        if err.errno not in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise _refusal(mapping, err, _who) from err
        what = "SCTP" if mapping.protocol == "sctp" and family == socket.AF_INET else "IPv6"
        words = f"port {mapping.host_port}/{mapping.protocol} on {mapping.host_ip} cannot be published: this kernel has no {what}"
        raise Unsupported(words, hint="load its module (modprobe sctp)" if what == "SCTP" else "publish on 127.0.0.1") from err


def _refusal(mapping: PortMapping, err: OSError, who: Callable[[PortMapping], str]) -> Conflict | NetworkError:
    number = f"port {mapping.host_port}" if mapping.host_port else "a free port"
    where = f"{number}/{mapping.protocol} on {mapping.host_ip}"
    if err.errno == errno.EADDRINUSE:
        held = f", held by {found}" if (found := who(mapping)) else ""
        return Conflict(f"{where} is in use{held}", hint="choose another host port, or leave it out to get a free one")
    if err.errno == errno.EADDRNOTAVAIL:
        return NetworkError(f"{where} cannot be published: the address is not this host's", hint="use 127.0.0.1 or 0.0.0.0")
    if err.errno == errno.EACCES:
        lowest = _lowest()
        return NetworkError(f"{where} cannot be published: ports below {lowest} need root", hint=f"choose a host port from {lowest} up")
    return NetworkError(f"{where} cannot be published: {err.strerror}")


def _lowest() -> int:
    with suppress(OSError, ValueError), open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        return int(file.read())
    return 1024


def holder(port: int, protocol: str = "tcp") -> str:
    """Return who has the port as "name (pid 123)", or "a process of user NAME" when that is all one can see; empty when nobody has it."""
    found = dict(_holding(port, protocol))
    if not found:
        return ""
    own = f":{port}->".encode()
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{fd}") in found:
                        return f"{_command(pid)} (pid {pid})"
        with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            # A forwarder of ours cannot be looked into (it may not be traced), but its arguments name its ports.
            words = file.read().split(b"\0")
            if b"notebook_containers.network.forwarder" in words and any(own in w and f"/{protocol}".encode() in w for w in words):
                return f"{_command(pid)} (pid {pid})"
    return f"a process of user {_user(next(iter(found.values())))}"


def _holding(port: int, protocol: str) -> Iterator[tuple[str, int]]:
    """Yield "socket:[inode]" and user id of the sockets bound to the port, as /proc/net has them (proc_net_tcp(5))."""
    if protocol == "sctp":
        yield from _holding_sctp(port)
        return
    for table in (protocol, f"{protocol}6"):
        with suppress(OSError), open(f"/proc/thread-self/net/{table}", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                columns = line.split()
                listening = protocol == "udp" or columns[3] == "0A"
                if listening and int(columns[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{columns[9]}]", int(columns[7])


def _holding_sctp(port: int) -> Iterator[tuple[str, int]]:
    with suppress(OSError), open("/proc/thread-self/net/sctp/eps", encoding="ascii") as file:
        for line in file.readlines()[1:]:
            columns = line.split()
            if int(columns[5]) == port:
                yield f"socket:[{columns[7]}]", int(columns[6])


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _command(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return "".join(c if c.isprintable() else "?" for c in file.read().strip())

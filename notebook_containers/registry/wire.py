"""Sockets to registries: the fastest of a host's addresses (RFC 8305), none that is forbidden, and all of them cut at once on demand.

urllib3 does the rest of HTTP and TLS; this module is imported when the first request is sent.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from notebook_containers.registry.addresses import is_public_address

_HEAD_START_S = 0.25


def anything(address: str) -> str:
    """Forbid no address."""
    del address
    return ""


def public_only(address: str) -> str:
    """Forbid what is no public address."""
    return "" if is_public_address(address) else "its address is a private one"


class Wire:
    """Opens sockets and can cut them all; thread-safe.

    ``forbids`` says in words why an address may not be connected to (empty: it may); a name is looked up once, and what is connected
    to is what was checked.
    """

    def __init__(self, *, connect_s: float, forbids: Callable[[str], str] = anything) -> None:
        self._connect_s, self._forbids = connect_s, forbids
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._cut = False

    def cut(self) -> None:
        """Wake every thread that waits for one of the sockets; none is opened any more."""
        with self._lock:
            self._cut = True
            found = list(self._open)
        for each in found:
            _shut(each)

    def pools(self) -> dict[str, type[HTTPConnectionPool]]:
        """Return urllib3's classes by scheme, with connections that are made here."""
        wire = self

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return wire.open(self)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return wire.open(self)

            def connect(self) -> None:
                super().connect()
                wire.watch(self.sock)  # TLS put another object in the place of the socket
                self.is_verified = True  # read for urllib3's warning only; what is not verified is told by who asked for it

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        return {"http": PlainPool, "https": SecurePool}

    def open(self, connection: HTTPConnection) -> socket.socket:
        """Return a connected socket for a connection of urllib3, whose exceptions it raises."""
        try:
            found = self.connect(connection.host.strip("[]"), connection.port or 80)
        except socket.gaierror as err:
            raise NameResolutionError(connection.host, connection, err) from err
        except TimeoutError as err:
            raise ConnectTimeoutError(connection, "no address answers in time") from err
        except OSError as err:
            raise NewConnectionError(connection, str(err)) from err
        return found

    def connect(self, host: str, port: int) -> socket.socket:
        """Return a socket to the first address that answers; a silent one does not hold the others up. Raises OSError."""
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        forbidden = next(filter(None, (self._forbids(str(address[0])) for *_, address in addresses)), "")
        if forbidden:
            raise OSError(errno.EACCES, forbidden)
        end = time.monotonic() + self._connect_s
        pending: dict[socket.socket, float] = {}
        queue = _alternating(addresses)
        failure: OSError = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        winner: socket.socket | None = None
        try:
            while winner is None and not self._cut and time.monotonic() < end:
                family, address = next(queue, (0, None))
                if address is not None:
                    try:
                        pending[_begin(family, address)] = time.monotonic()
                    except OSError as err:
                        failure = err
                        continue
                if not pending:
                    raise failure
                wait = min(_HEAD_START_S, end - time.monotonic()) if address is not None else 0.1
                winner, failed = _first(pending, max(wait, 0))
                failure = failed or failure
            if winner is None:
                raise failure if not pending else TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        finally:
            for each in pending:
                if each is not winner:
                    each.close()
        winner.settimeout(self._connect_s)
        winner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.watch(winner)
        return winner

    def watch(self, sock: socket.socket) -> None:
        """Cut this one too."""
        with self._lock:
            self._open.add(sock)
            if self._cut:
                _shut(sock)


def _begin(family: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(code, os.strerror(code))
    return sock


def _first(pending: dict[socket.socket, float], wait_s: float) -> tuple[socket.socket | None, OSError | None]:
    """Return the first socket that is connected, after at most ``wait_s``; those that failed are closed and dropped."""
    poll = select.poll()
    by_number = {sock.fileno(): sock for sock in pending}
    for number in by_number:
        poll.register(number, select.POLLOUT)
    failure: OSError | None = None
    for number, _event in poll.poll(wait_s * 1000):
        sock = by_number[number]
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            return sock, None
        failure = OSError(code, os.strerror(code))
        del pending[sock]
        sock.close()
    return None, failure


def _alternating(addresses: Sequence[tuple[int, int, int, str, tuple[object, ...]]]) -> Iterator[tuple[int, tuple[object, ...] | None]]:
    """Yield family and address, one family after the other, the resolver's first choice first."""
    first = addresses[0][0]
    own = [(family, address) for family, *_, address in addresses if family == first]
    others = [(family, address) for family, *_, address in addresses if family != first]
    for index in range(max(len(own), len(others))):
        yield from own[index : index + 1]
        yield from others[index : index + 1]


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return

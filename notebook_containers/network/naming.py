"""Telling the resolver of a store who is called what; it is started by the first container that has a name, and ends with the last."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from notebook_containers.errors import NetworkError
from notebook_containers.lean import dataclass
from notebook_containers.linux.netlink import NETLINK_NETFILTER, NetlinkSocket, in_network_namespace
from notebook_containers.network import nftables as nft
from notebook_containers.network.directory import Member, message_of
from notebook_containers.network.names import RESOLVER
from notebook_containers.network.spawn import spawn

TABLE = "notebook_containers_names"
_PORT = 53
_WHAT = "names of containers cannot be answered"
_SO_RCVBUFFORCE, _RECEIVE_BYTES = 33, 1 << 20
_BACKLOG = 64
_TIMEOUT_S = 10.0
_DSTNAT_PRIORITY = -100

Inside: TypeAlias = Callable[[int], tuple[socket.socket, socket.socket]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A container to be named: its first process, whose network namespace it asks in, and the process with which its names end."""

    member: Member
    pid: int
    while_pid: int


def join(run: Path, newcomer: Newcomer, others: Callable[[], Iterable[Newcomer]], *, inside: Inside | None = None) -> None:
    """Name a container, and answer what it asks; ``others`` are those that a resolver started anew must be told of too.

    ``inside`` makes the sockets in the network namespace of a process (:func:`sockets_inside`, which needs root's rights there).

    The resolver holds sockets inside, not the namespace's file: they go when ``while_pid`` ends. Raises NetworkError.
    """
    with _alone(run), _refused():
        _have(run, others, inside or sockets_inside)
        _hand_over(run, newcomer, inside or sockets_inside)


def begin(run: Path, others: Callable[[], Iterable[Newcomer]], *, inside: Inside | None = None) -> None:
    """Have a resolver because a container is about to be named; it ends by itself when none is. See :func:`join`, which is to follow."""
    with _alone(run), _refused():
        _have(run, others, inside or sockets_inside)


def _have(run: Path, others: Callable[[], Iterable[Newcomer]], inside: Inside) -> None:
    if answers(run):
        return
    _start(run)
    for other in others():
        with suppress(OSError, NetworkError):  # it ends at this moment
            _hand_over(run, other, inside)


def change(run: Path, member: Member) -> bool:
    """Tell that a container has other names, addresses or networks now; False when it must be joined anew. No places: forget it."""
    with _alone(run), _refused():
        try:
            return _say(run, member, ()) == "ok"
        except (FileNotFoundError, ConnectionRefusedError):
            return not member.places


def answers(run: Path) -> bool:
    """Tell whether there is a resolver, which may be on its way out."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        try:
            client.connect(_path(run))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _start(run: Path) -> None:
    path = _path(run)
    with suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        control.bind(path)
        control.listen(_BACKLOG)
        found = importlib.util.find_spec("dns")
        places = list(found.submodule_search_locations or ()) if found else []
        plan = {"control": control.fileno(), "lock": os.fspath(run / "names.lock"), "paths": [os.path.dirname(place) for place in places]}
        spawn("notebook_containers.network.answering", plan, descriptors=[control.fileno()], what=_WHAT)


def _hand_over(run: Path, newcomer: Newcomer, inside: Inside) -> None:
    with ExitStack() as closing:
        alive = os.pidfd_open(newcomer.while_pid)
        closing.callback(os.close, alive)
        sockets = [closing.enter_context(sock) for sock in inside(newcomer.pid)]
        answer = _say(run, newcomer.member, [alive, *(sock.fileno() for sock in sockets)])
        if answer != "ok":
            raise NetworkError(f"{_WHAT}: {answer}")


def _say(run: Path, member: Member, descriptors: Sequence[int]) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(_TIMEOUT_S)
        client.connect(_path(run))
        socket.send_fds(client, [json.dumps(message_of(member)).encode()], descriptors)
        return client.recv(4096).decode("utf-8", "replace")


def sockets_inside(pid: int) -> tuple[socket.socket, socket.socket]:
    """Make the sockets that a container asks at, for datagrams and for connections.

    With address translation, so that port 53 stays free for a name server of its own.
    """

    def make() -> tuple[socket.socket, socket.socket]:
        datagrams, streams = _bound(0)
        try:
            with NetlinkSocket(NETLINK_NETFILTER) as kernel:
                _translate(kernel, datagrams.getsockname()[1], streams.getsockname()[1])
        except OSError:  # a kernel without nf_tables, or without address translation
            datagrams.close()
            streams.close()
            return _bound(_PORT)
        return datagrams, streams

    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return in_network_namespace(namespace, make)
    finally:
        os.close(namespace)


def _bound(port: int) -> tuple[socket.socket, socket.socket]:
    datagrams, streams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        with suppress(OSError):  # a burst of questions waits, it is not lost
            datagrams.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        datagrams.bind((RESOLVER, port))
        streams.bind((RESOLVER, port))
        streams.listen(_BACKLOG)
    except OSError:
        datagrams.close()
        streams.close()
        raise
    return datagrams, streams


def _translate(kernel: NetlinkSocket, datagrams: int, streams: int) -> None:
    """Lead port 53 of :data:`RESOLVER` to the sockets' own ports, in the namespace of the calling thread."""
    rules = [
        nft.add_rule(
            TABLE, "output", nft.destination_is(RESOLVER), nft.protocol_is(protocol), nft.to_port(_PORT), nft.redirect(RESOLVER, port)
        )
        for protocol, port in ((nft.UDP, datagrams), (nft.TCP, streams))
    ]
    chain = nft.add_chain(TABLE, "output", kind="nat", hook=nft.OUTPUT, priority=_DSTNAT_PRIORITY)
    table = [nft.add_table(TABLE, ""), nft.delete_table(TABLE), nft.add_table(TABLE, "made by notebook_containers")]
    nft.commit(kernel, [*table, chain, *rules], expected=nft.generation(kernel))


def _path(run: Path) -> str:
    return os.fspath(run / "names.sock")


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Hold the lock without which the resolver does not end."""
    with open(run / "names.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise NetworkError(f"{_WHAT}: {err.strerror or err}") from err

"""Netlink: one blocking socket, messages packed by :mod:`struct`, answers as bytes; every refusal is an OSError with the kernel's words.

Standard library only. No event loop and no fork: it works inside a thread that runs asyncio (a notebook kernel) and costs microseconds.
A socket belongs to the network namespace of the thread that made it; :func:`in_network_namespace` makes one elsewhere.
Source: netlink(7), rtnetlink(7), linux/netlink.h, linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeVar

from notebook_containers.linux import syscalls

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x2, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x100, 0x200
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_NLMSGERR_ATTR_MSG = 1
_NLA_TYPE_MASK, _NLA_F_NESTED = 0x3FFF, 0x8000
_RECEIVE_BYTES = 1 << 18

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")

T = TypeVar("T")


def attribute(kind: int, value: bytes | str | int) -> bytes:
    """Pack one attribute: bytes as they are, text with a closing NUL, a number as 32 bits in host order."""
    if isinstance(value, int):
        value = struct.pack("=I", value)
    elif isinstance(value, str):
        value = value.encode() + b"\0"
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + b"\0" * (-size % 4)


def nested(kind: int, *members: bytes) -> bytes:
    """Pack an attribute that holds attributes."""
    return attribute(kind | _NLA_F_NESTED, b"".join(members))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, value) of packed attributes; kinds without their flag bits. Stops at a damaged length."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size or offset + size > len(data):
            return
        yield kind & _NLA_TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + size]
        offset += size + (-size % 4)


def text(value: bytes) -> str:
    """Return a NUL-terminated attribute as text."""
    return value.rstrip(b"\0").decode("utf-8", "replace")


class Request:
    """One message to the kernel: ``kind``, flags beyond NLM_F_REQUEST, and the bytes after the header; ``what`` names it in errors."""

    __slots__ = ("flags", "kind", "payload", "what")

    def __init__(self, kind: int, flags: int, payload: bytes, *, what: str) -> None:
        self.kind, self.flags, self.payload, self.what = kind, flags, payload, what

    def pack(self, sequence: int, flags: int = 0) -> bytes:
        """Return the bytes of the message with its header, with more ``flags``."""
        size = _HEADER.size + len(self.payload)
        return _HEADER.pack(size, self.kind, self.flags | flags | NLM_F_REQUEST, sequence, 0) + self.payload + b"\0" * (-size % 4)


class NetlinkSocket:
    """A netlink socket of one protocol in the calling thread's network namespace; a context manager. Not for two threads at once."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.settimeout(10)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; twice is harmless."""
        self._socket.close()

    def execute(self, requests: Sequence[Request]) -> None:
        """Send the requests in one write and wait until each is acknowledged; raises OSError for the first refused one.

        The kernel handles them in order and does not stop at a refusal; use :meth:`batch` where all or nothing is meant.
        """
        first = self._sequence + 1
        names = {first + i: r.what for i, r in enumerate(requests)}
        self._sequence += len(requests)
        self._socket.sendall(b"".join(r.pack(n, NLM_F_ACK) for n, r in enumerate(requests, first)))
        failures = [_failure(names[n], body) for n, body in self._acknowledgements(set(names))]
        for failure in failures:
            if failure is not None:
                raise failure

    def batch(self, begin: Request, requests: Sequence[Request], end: Request) -> None:
        """Send an nfnetlink transaction: all requests or none; raises OSError for the first refused one."""
        first = self._sequence + 1
        everything = [begin, *requests, end]
        self._sequence += len(everything)
        names = {first + i: r.what for i, r in enumerate(everything)}
        wanted = first + len(everything) - 2
        # Only the last request asks for an acknowledgement: an error of any other is reported with its own number all the same.
        packed = [r.pack(n, NLM_F_ACK if n == wanted else 0) for n, r in enumerate(everything, first)]
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, max(1 << 16, 2 * sum(map(len, packed))))
        self._socket.sendall(b"".join(packed))
        while True:
            errors = [(n, body) for kind, n, body, _ in self._receive() if kind == _NLMSG_ERROR and n in names]
            for n, body in errors:
                failure = _failure(names[n], body)
                if failure is not None:
                    self._drain()
                    raise failure
            if any(n == wanted for n, _ in errors):
                return

    def get(self, request: Request) -> list[bytes]:
        """Send one question and return the bodies of the answers; a dump is asked for with NLM_F_DUMP. Raises OSError when refused."""
        dump = request.flags & NLM_F_DUMP == NLM_F_DUMP
        self._sequence += 1
        number = self._sequence
        self._socket.sendall(request.pack(number))
        answers: list[bytes] = []
        while True:
            for kind, n, body, flags in self._receive():
                if n != number:
                    continue
                if kind == _NLMSG_ERROR:
                    failure = _failure(request.what, body)
                    if failure is not None:
                        raise failure
                    return answers
                if kind == _NLMSG_DONE:
                    return answers
                answers.append(body)
                if not dump and not flags & NLM_F_MULTI:
                    return answers

    def _acknowledgements(self, waiting: set[int]) -> Iterator[tuple[int, bytes]]:
        while waiting:
            for kind, n, body, _ in self._receive():
                if kind == _NLMSG_ERROR and n in waiting:
                    waiting.discard(n)
                    yield n, body

    def _receive(self) -> list[tuple[int, int, bytes, int]]:
        data = self._socket.recv(_RECEIVE_BYTES)
        messages = []
        offset = 0
        while offset + _HEADER.size <= len(data):
            size, kind, flags, number, _ = _HEADER.unpack_from(data, offset)
            if size < _HEADER.size:
                break
            # An error keeps its flags in front: they say whether the kernel's words follow.
            body = data[offset + _HEADER.size : offset + size]
            messages.append((kind, number, struct.pack("=H", flags) + body if kind == _NLMSG_ERROR else body, flags))
            offset += size + (-size % 4)
        return messages

    def _drain(self) -> None:
        self._socket.setblocking(False)
        try:
            while self._socket.recv(_RECEIVE_BYTES):
                pass
        except BlockingIOError:
            pass
        self._socket.settimeout(10)


def _failure(what: str, body: bytes) -> OSError | None:
    flags, code = struct.unpack_from("=Hi", body)
    if code == 0:
        return None
    words = os.strerror(-code)
    if flags & _NLM_F_ACK_TLVS:
        # struct nlmsgerr: int error, then the header of the refused message (NETLINK_CAP_ACK cuts the rest), then the attributes.
        for kind, value in attributes(body[2 + 4 + _HEADER.size :]):
            if kind == _NLMSGERR_ATTR_MSG:
                words = f"{words}: {text(value)}"
    return OSError(-code, f"{what}: {words}")


def in_network_namespace(namespace: int, work: Callable[[], T]) -> T:
    """Run ``work`` in a thread of its own inside the network namespace behind the descriptor; its result or exception comes back.

    ``setns`` changes only the thread that calls it, so neither the caller nor its other threads ever leave their namespace.
    """
    results: list[T] = []
    failures: list[BaseException] = []

    def inside() -> None:
        try:
            syscalls.setns(namespace, syscalls.CLONE_NEWNET)
            results.append(work())
        except BaseException as err:  # carried to the caller's thread, which raises it
            failures.append(err)

    thread = threading.Thread(target=inside, name="network-namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]

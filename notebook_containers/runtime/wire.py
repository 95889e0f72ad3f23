"""Frames on the monitor's control socket: one byte of kind, four of length (big-endian), then the payload.

A connection starts with one REQUEST (a JSON object with ``op``) and gets one ANSWER (a JSON object, with ``error`` when it failed);
after ``attach`` it carries STDIN from the client, STDOUT, STDERR and LOST (a decimal count of bytes) to it, and EXIT at the end.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator

from notebook_containers import errors
from notebook_containers.runtime.document import Table

REQUEST, ANSWER, STDIN, STDOUT, STDERR, LOST, EXIT = 1, 2, 3, 4, 5, 6, 7
STREAMS = {STDOUT: "stdout", STDERR: "stderr"}
MAX_PAYLOAD = 4 * 1024 * 1024
MOST_HINT_BYTES = 1 << 16  # of what is told of a container before it is asked for

_HEADER = struct.Struct("!BI")
_ERRORS: dict[str, type[errors.Error]] = {
    "Conflict": errors.Conflict,
    "RuntimeFailure": errors.RuntimeFailure,
    "StuckProcess": errors.StuckProcess,
    "Unsupported": errors.Unsupported,
    "InvalidArgument": errors.InvalidArgument,
}


def frame(kind: int, payload: bytes) -> bytes:
    """Return one frame."""
    return _HEADER.pack(kind, len(payload)) + payload


def json_frame(kind: int, value: Table) -> bytes:
    """Return one frame with a JSON object."""
    return frame(kind, json.dumps(value).encode())


def error_table(err: errors.Error) -> Table:
    """Return what :func:`raise_error` turns into the same error on the other side."""
    return {"kind": type(err).__name__, "message": err.message, "hint": err.hint, "status": err.exit_status}


def raise_error(answer: Table) -> None:
    """Raise the error an answer carries, if it carries one."""
    error = answer.get("error")
    if not isinstance(error, dict):
        return
    message, hint, status = str(error.get("message", "")), str(error.get("hint", "")), error.get("status")
    if error.get("kind") == "StartFailed":
        raise errors.StartFailed(message, hint=hint, exit_status=status if isinstance(status, int) else 125)
    raise _ERRORS.get(str(error.get("kind")), errors.RuntimeFailure)(message, hint=hint)


class Reader:
    """Cuts a byte stream into frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer += data

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield and forget the complete frames; ValueError for a frame larger than MAX_PAYLOAD."""
        while len(self._buffer) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer)
            if length > MAX_PAYLOAD:
                raise ValueError(f"a frame of {length} bytes")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield kind, payload


def receive_request(conn: socket.socket) -> bytes:
    """Return the payload of the one frame that comes first; ValueError when the other side hangs up before."""
    reader = Reader()
    while data := conn.recv(65536):
        reader.feed(data)
        for _kind, payload in reader.frames():
            return payload
    raise ValueError("no request came")


def parse(payload: bytes) -> Table:
    """Parse a JSON object; ValueError when it is none."""
    value = json.loads(payload)
    if not isinstance(value, dict):
        raise ValueError("the message is no JSON object")
    return value

"""Start the process that carries published ports into a container, and change the ports of one that runs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from notebook_containers.errors import NetworkError
from notebook_containers.linux import process as processes, syscalls
from notebook_containers.network.forwarder import CONTROL, MESSAGE_BYTES, MESSAGE_DESCRIPTORS
from notebook_containers.network.ports import PortMapping
from notebook_containers.network.spawn import spawn

_AT_ONCE = MESSAGE_DESCRIPTORS - 10
_TIMEOUT_S = 10.0


def start(
    sockets: Sequence[socket.socket],
    mappings: Sequence[PortMapping],
    *,
    pid: int,
    address: str | None,
    while_pid: int = 0,
    control: Path | None = None,
    redirection: int | None = None,
) -> int:
    """Start one forwarder for the reserved sockets (:func:`~notebook_containers.network.ports.reserve`) and return its process id.

    Takes the sockets over: they are closed here in every case, so the port is free again as soon as the container ends.
    With an ``address`` connections go there from the host; without one they are made inside the user and network namespace of ``pid``
    to 127.0.0.1, whose loopback must be up. The forwarder outlives this process and ends by itself when ``while_pid`` (``pid`` when 0)
    ends. In the directory ``control`` it can be reached by :func:`change`. The descriptor ``redirection``, which the caller closes, is
    held open as long. Raises NetworkError.
    """
    what = f"published ports of process {pid} could not be set up"
    with ExitStack() as stack:
        for sock in sockets:
            stack.callback(sock.close)
        if len(sockets) != len(mappings):
            raise NetworkError(f"{what}: each mapping has one socket")
        try:
            pidfd = _held(stack, syscalls.pidfd_open(pid))
            alive = _held(stack, syscalls.pidfd_open(while_pid or pid))
            place = None if control is None else _held(stack, os.open(control, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW))
        except OSError as err:
            raise NetworkError(f"{what}: {err.strerror}") from err
        plan = {
            "pid": pid,
            "pidfd": pidfd,
            "alive": alive,
            "address": address,
            "control": place,
            "redirection": redirection,
            "listeners": [[sock.fileno(), m.protocol, m.container_port] for sock, m in zip(sockets, mappings, strict=True)],
            # The ports in words are for people who look at the process list, and for ports.holder().
            "ports": [str(mapping) for mapping in mappings],
        }
        descriptors = [pidfd, alive, *(sock.fileno() for sock in sockets), *(fd for fd in (place, redirection) if fd is not None)]
        return spawn("notebook_containers.network.forwarder", plan, descriptors=descriptors, what=what)


def _held(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def change(
    control: Path,
    *,
    sockets: Sequence[socket.socket] = (),
    mappings: Sequence[PortMapping] = (),
    closed: Sequence[PortMapping] = (),
    redirection: int | None = None,
    address: str | None = None,
) -> None:
    """Give a running forwarder further reserved sockets with their mappings, and let it close others, with the connections through them.

    Takes the sockets over. New connections go to the container's new ``address`` when one is named, and nowhere when it is empty; who
    was started without an address goes on as before. ``redirection`` takes the place of what it held before, None ends that. Raises
    NetworkError when there is no forwarder in the directory ``control``, or when it does not do it.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(_TIMEOUT_S)
            _connect(connection, control)
            steps = max(1, -(-len(sockets) // _AT_ONCE), -(-len(closed) // _AT_ONCE))
            for step in range(steps):
                part = slice(step * _AT_ONCE, (step + 1) * _AT_ONCE)
                last = step == steps - 1
                pipe = redirection if last else None
                _tell(connection, sockets[part], mappings[part], closed[part], pipe, last=last, address=address)
    except OSError as err:
        words = f"the forwarder of published ports does not answer: {err.strerror or err}"
        raise NetworkError(words, hint="restart the container") from err
    finally:
        for sock in sockets:
            sock.close()


def _connect(connection: socket.socket, control: Path) -> None:
    place = os.open(control, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        connection.connect(f"/proc/self/fd/{place}/{CONTROL}")
    finally:
        os.close(place)


def _tell(
    connection: socket.socket,
    sockets: Sequence[socket.socket],
    mappings: Sequence[PortMapping],
    closed: Sequence[PortMapping],
    pipe: int | None,
    *,
    last: bool,
    address: str | None,
) -> None:
    plan = {
        "open": [[m.protocol, m.container_port] for m in mappings],
        "close": [list(m.place) for m in closed],
        "redirected": pipe is not None,
        "last": last,
        "address": address,
    }
    descriptors = [sock.fileno() for sock in sockets] + ([pipe] if pipe is not None else [])
    processes.send_fds(connection, json.dumps(plan).encode(), descriptors)
    answer = connection.recv(MESSAGE_BYTES)
    if answer != b"ok":
        raise NetworkError(f"the forwarder of published ports refused: {answer.decode('utf-8', 'replace') or 'it ended'}")

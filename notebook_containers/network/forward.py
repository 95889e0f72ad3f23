"""Start the process that carries published ports into a container."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from notebook_containers.errors import NetworkError
from notebook_containers.linux import process as processes
from notebook_containers.network.ports import PortMapping
from notebook_containers.network.spawn import spawn


def start(sockets: Sequence[socket.socket], mappings: Sequence[PortMapping], *, pid: int, address: str | None, while_pid: int = 0) -> int:
    """Start one forwarder for the reserved sockets (:func:`~notebook_containers.network.ports.reserve`) and return its process id.

    Takes the sockets over: they are closed here in every case, so the port is free again as soon as the container ends.
    With an ``address`` connections go there from the host; without one they are made inside the user and network namespace of ``pid``
    to 127.0.0.1, whose loopback must be up. The forwarder outlives this process and ends by itself when ``while_pid`` (``pid`` when 0)
    ends. Raises NetworkError.
    """
    what = f"published ports of process {pid} could not be set up"
    try:
        if len(sockets) != len(mappings):
            raise ValueError("each mapping has one socket")
        try:
            pidfd = processes.pidfd(pid)
            alive = processes.pidfd(while_pid or pid)
        except OSError as err:
            raise NetworkError(f"{what}: {err.strerror}") from err
        try:
            listeners = [[sock.fileno(), m.protocol, m.container_port] for sock, m in zip(sockets, mappings, strict=True)]
            # The ports in words are for people who look at the process list, and for ports.holder().
            words = [str(mapping) for mapping in mappings]
            plan = {"pid": pid, "pidfd": pidfd, "alive": alive, "address": address, "listeners": listeners, "ports": words}
            descriptors = [pidfd, alive, *(sock.fileno() for sock in sockets)]
            return spawn("notebook_containers.network.forwarder", plan, descriptors=descriptors, what=what)
        finally:
            os.close(pidfd)
            os.close(alive)
    finally:
        for sock in sockets:
            sock.close()

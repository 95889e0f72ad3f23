"""Start the process that carries published ports into a container."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import notebook_containers
from notebook_containers.errors import NetworkError
from notebook_containers.network.ports import PortMapping

_START = "import sys; sys.path.append(sys.argv[1]); from notebook_containers.network.forwarder import main; main(sys.argv[2])"
_START_TIMEOUT_S = 10


def start(sockets: Sequence[socket.socket], mappings: Sequence[PortMapping], *, pid: int, address: str | None) -> int:
    """Start one forwarder for the reserved sockets (:func:`~notebook_containers.network.ports.reserve`) and return its process id.

    Takes the sockets over: they are closed here in every case, so the port is free again as soon as the container ends.
    With an ``address`` connections go there from the host; without one they are made inside the user and network namespace of ``pid``
    to 127.0.0.1. The forwarder outlives this process and ends by itself when ``pid`` ends. Raises NetworkError.
    """
    if len(sockets) != len(mappings):
        raise ValueError("each mapping has one socket")
    try:
        pidfd = os.pidfd_open(pid)
        try:
            return _start(sockets, mappings, pid=pid, pidfd=pidfd, address=address)
        finally:
            os.close(pidfd)
    except (OSError, subprocess.SubprocessError) as err:
        raise NetworkError(f"published ports of process {pid} could not be set up: {err}") from err
    finally:
        for sock in sockets:
            sock.close()


def _start(sockets: Sequence[socket.socket], mappings: Sequence[PortMapping], *, pid: int, pidfd: int, address: str | None) -> int:
    listeners = [[sock.fileno(), m.protocol, m.container_port] for sock, m in zip(sockets, mappings, strict=True)]
    plan = json.dumps({"pid": pid, "pidfd": pidfd, "address": address, "listeners": listeners, "ports": [str(m) for m in mappings]})
    root = str(Path(notebook_containers.__file__).resolve().parent.parent)
    # No environment, no inherited descriptor but the named ones, own session: nothing of the notebook gets in or can stop it.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-E", "-c", _START, root, plan],
        env={},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[pidfd, *(sock.fileno() for sock in sockets)],
        start_new_session=True,
        timeout=_START_TIMEOUT_S,
        check=False,
    )
    word, _, rest = done.stdout.decode("utf-8", "replace").strip().partition(" ")
    if word != "ready":
        raise NetworkError(f"published ports of process {pid} could not be set up: {rest or 'the forwarder did not start'}")
    return int(rest)

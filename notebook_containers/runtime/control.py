"""The control socket of a monitor, from outside."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from notebook_containers.errors import Conflict, ContainerNotFound, RuntimeFailure
from notebook_containers.runtime.exhausted import limit_named
from notebook_containers.runtime.sessions import Connection


@limit_named()
def connect(directory: Path, identity: str) -> Connection:
    """Return a connection to the monitor of the container ``identity``, whose run directory is ``directory``.

    ContainerNotFound when there is none, Conflict when it is not running.
    """
    try:
        place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise ContainerNotFound(f"no container {identity[:12]} is known to the runtime") from None
    sock = None
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # the directory by its descriptor: its path may be longer than a socket address
        sock.connect(f"/proc/self/fd/{place}/ctl")
    except OSError as err:
        if sock is not None:
            sock.close()
        if err.errno in (errno.ENOENT, errno.ECONNREFUSED):
            raise Conflict(f"container {identity[:12]} is not running") from err
        if err.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise RuntimeFailure(f"cannot reach the monitor of container {identity[:12]}: {err.strerror}") from err
    finally:
        os.close(place)
    return Connection(sock)

"""The process in which the :mod:`~notebook_containers.network.resolver` lives: says that it is there, and only then loads what it needs."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress

from notebook_containers.network.forwarder import drop_privileges


def main(text: str) -> None:
    """Read the plan, leave the starter's side, say "ready <pid>" on standard output, and serve.

    Questions and containers that come before it serves wait in their sockets.
    """
    plan = json.loads(text)
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as name:
            name.write("nbc-names")
        drop_privileges()
    except OSError as err:
        sys.stdout.write(f"failed {err.strerror or err}\n")
        return
    if os.fork():  # the starter reaps this process at once, and init the one that stays
        os._exit(0)
    with suppress(BrokenPipeError):  # the starter was killed: whoever comes next finds our socket already, and waits for an answer
        os.write(1, f"ready {os.getpid()}\n".encode())
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
    sys.path += plan["paths"]
    from notebook_containers.network.resolver import Resolver

    Resolver(socket.socket(fileno=plan["control"]), plan["lock"]).serve()

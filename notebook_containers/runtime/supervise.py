"""A monitor's process, from the request that it was forked for to its end."""

from __future__ import annotations

import gc
import os
import signal
import socket

from notebook_containers.errors import Error, RuntimeFailure
from notebook_containers.linux import process as processes, syscalls
from notebook_containers.runtime import ahead, document, wire
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.monitor import Monitor


def main(conn: socket.socket, first: ahead.Ahead | None = None) -> None:
    """Serve the container that the request on ``conn`` describes, in this process, until it is over; never returns.

    ``first`` is an init that was made ahead, as a child of this process.
    """
    _leave_the_caller([conn.fileno(), *([first.channel.fileno()] if first else [])])
    monitor = None
    try:
        request = wire.parse(wire.receive_request(conn))
        if first is not None:
            first.begin(document.text(request, "bundle"))
        bundle = document.PlainBundle(document.text(request, "bundle"))
        monitor = Monitor(document.text(request, "id"), bundle, document.text(request, "run"), first)
        monitor.create(conn, start=document.flag(request, "start"))
    except (Error, OSError, ValueError) as err:
        if first is not None:
            first.drop()
        if monitor is not None:
            monitor.undo()
            monitor.vanish()  # as the caller does, if it is still there
        failure = err if isinstance(err, Error) else RuntimeFailure(f"cannot create the container: {err}")
        _tell(conn, {"error": wire.error_table(failure)})
        os._exit(1)
    monitor.greet(conn, request)
    monitor.serve()
    monitor.vanish()
    os._exit(0)


def _leave_the_caller(fds: list[int]) -> None:
    processes.stdio_to_null()
    processes.keep_only(fds)
    processes.set_name("nbc-monitor")
    os.chdir("/")
    os.umask(0o077)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()


def _tell(conn: socket.socket, value: Table) -> None:
    try:
        conn.sendall(wire.json_frame(wire.ANSWER, value))
    except OSError:
        pass  # the engine is gone; the container is there all the same

"""The spawner: one warm, single-threaded Python process per engine that forks monitors, so that nobody waits for an interpreter to start.

The engine (a notebook's kernel, with threads, sockets and secrets in its memory) never forks. It starts this process with an empty
environment and one end of a socket pair. Each message is a word with descriptors: ``create`` with a connection on which the request
comes, ``exec`` with a connection and three standard streams. The spawner ends when the engine does; what it started does not.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Callable

from notebook_containers.linux import cgroups, process as processes, syscalls
from notebook_containers.runtime import exec as execution, monitor

_MOST_FDS = 4


def main(fd: int) -> None:
    """Serve requests on the socket ``fd`` until the engine closes its end; never returns."""
    server = socket.socket(fileno=fd)
    processes.stdio_to_null()
    processes.keep_only([fd])
    processes.set_name("nbc-spawner")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # the first process of a killed monitor is reaped here too
    _warm_up()
    while True:
        word, fds = processes.recv_fds(server, 64, _MOST_FDS)
        if not word:
            os._exit(0)  # at once: the engine may be waiting, and there is nothing to tidy up
        _detached(lambda word=word, fds=fds: _serve(word, fds))  # type: ignore[misc]
        for received in fds:
            os.close(received)


def _warm_up() -> None:
    cgroups.open_cgroup("warm/up")  # imports what this machine's version needs, once here and not in every monitor
    gc.collect()
    gc.freeze()  # what is imported now is shared with every monitor for ever: the collector must not write to those pages


def _detached(action: Callable[[], None]) -> None:
    """Run ``action`` in a process of its own session.

    It is a child of this process while this process lives, and nobody's concern afterwards: SIGCHLD is ignored here, so the kernel
    reaps it at once. (As orphans they would stay zombies wherever the machine's first process does not reap, as in many containers.)
    """
    if os.fork():
        return
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        action()
    finally:
        os._exit(0)


def _serve(word: bytes, fds: list[int]) -> None:
    conn = socket.socket(fileno=fds[0])
    if word == b"create":
        monitor.main(conn)
    elif word == b"exec":
        execution.main(conn, fds[1:])

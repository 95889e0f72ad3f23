"""One run of a health check: a further process in the container with a time limit, of whose output the first 4096 bytes are kept.

A process between runs it, so that the monitor never waits: it enters the container as every exec does, watches the command, kills it with
its process group when its time is over, and says in one JSON object how it was.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import time

from notebook_containers.errors import Error
from notebook_containers.linux import process as processes, syscalls
from notebook_containers.runtime import exec as execution
from notebook_containers.runtime.document import Table

OUTPUT_BYTES = 4096
FAILED = -1
_CHUNK = 65536


def start(request: Table, timeout_s: float) -> tuple[int, int]:
    """Begin a check in the container that ``request`` describes (its state, and ``process``); returns the pid and the answer's descriptor.

    The answer, ``{"start", "end", "exitCode", "output"}``, comes at once and the descriptor ends; exit code -1 says that the command
    could not be run or took too long. The caller closes the descriptor and reaps the process.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        _lead(writing)
        os.write(writing, json.dumps(run(request, timeout_s)).encode())
    finally:
        os._exit(0)


def _lead(writing: int) -> None:
    """Become a process of its own: the monitor's descriptors and handlers are not ours, and we end with it."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    processes.keep_only([writing])
    processes.set_name("nbc-health")


def run(request: Table, timeout_s: float) -> Table:
    """Run the check in this process and return the answer."""
    began = time.time()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        pid, master = execution.enter(request, [null, writing, os.dup(writing)])
    except Error as err:
        return _answer(began, FAILED, err.one_line().encode())
    except (OSError, ValueError) as err:
        return _answer(began, FAILED, f"cannot run the check: {err}".encode())
    for fd in (null, writing, *master):
        os.close(fd)
    kept = bytearray()
    over = _watch(pid, reading, kept, time.monotonic() + timeout_s)
    if not over:
        _kill(pid)
    status = os.waitpid(pid, 0)[1]
    if not over:
        text = f"Health check exceeded timeout ({timeout_s:g}s)"
        return _answer(began, FAILED, text.encode() + (b": " + bytes(kept) if kept else b""))
    return _answer(began, processes.exit_code(status), bytes(kept))


def _answer(began: float, code: int, output: bytes) -> Table:
    text = output[:OUTPUT_BYTES].decode("utf-8", "replace")
    return {"start": began, "end": time.time(), "exitCode": code, "output": text}


def _watch(pid: int, reading: int, kept: bytearray, deadline: float) -> bool:
    """Collect output until the command ends, or not in time; what comes beyond the limit is thrown away, so that nothing blocks."""
    os.set_blocking(reading, False)
    pidfd = syscalls.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(reading, select.POLLIN)
    while True:
        ready = dict(poll.poll(max(deadline - time.monotonic(), 0) * 1000))
        if reading in ready and not _collect(reading, kept):
            poll.unregister(reading)
        if pidfd in ready:
            _collect(reading, kept)
            return True
        if not ready:
            return False


def _collect(reading: int, kept: bytearray) -> bool:
    """Take what is there; False at the end of the pipe."""
    try:
        while data := os.read(reading, _CHUNK):
            kept += data[: max(OUTPUT_BYTES - len(kept), 0)]
    except BlockingIOError:
        return True
    return False


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)  # it leads its own session, and so the group of what it started
    except OSError as err:
        if err.errno != errno.ESRCH:
            os.kill(pid, signal.SIGKILL)

"""The processes behind ``nbc runtime create``, ``run`` and ``exec``: an interpreter that nobody can write to, and nothing but the runtime.

A container's command may be a link to /proc/self/exe, which is the interpreter that made the container (CVE-2019-5736). So the command
line's process replaces itself (``interpreter.become``): same pid, same parent, same standard streams, an empty environment, and an
interpreter's image on a read-only mount or sealed in memory.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys

from notebook_containers.errors import Error
from notebook_containers.linux import process as processes, syscalls
from notebook_containers.runtime import document, oci
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.ocilog import Log
from notebook_containers.runtime.ocirecord import Record

_FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGALRM", "SIGCONT", "SIGTSTP")
FAILED, EXEC_FAILED = 1, 255


def main(text: str) -> None:
    """Carry out the request (JSON with ``op``) and end the process with runc's exit status."""
    gc.freeze()
    request: Table = json.loads(text)
    log = Log(document.text(request, "log"), document.text(request, "logFormat", "text"))
    op = document.text(request, "op")
    try:
        code = {"create": _create, "run": _run, "exec": _exec}[op](request, log)
    except (Error, OSError, ValueError) as err:
        log.error(oci.words_for(err))
        code = EXEC_FAILED if op == "exec" else FAILED
    sys.stderr.flush()
    os._exit(code)


def _create(request: Table, log: Log) -> int:
    oci.make({**request, "detach": True}, log)
    return 0


def _run(request: Table, log: Log) -> int:
    detach = document.flag(request, "detach")
    if not detach:
        # what the command leaves behind comes to us: it is reaped, and gone before the container is
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    made = oci.make(request, log)
    try:
        with _forwarded_to(made.pid):
            oci.start(made.record, log)
            if detach:
                return 0
            code = _attend(made.pid, made.master)
    except BaseException:
        _forget(made.record, log)
        raise
    if not document.flag(request, "keep"):
        _forget(made.record, log)
    return code


def _forget(record: Record, log: Log) -> None:
    try:
        oci.delete(record, log, force=True)
    except Error as err:
        log.warn(err.one_line())


def _exec(request: Table, log: Log) -> int:
    process = document.table(request, "process")
    pid, master = oci.execute(request, process, log)
    if document.flag(request, "detach"):
        return 0
    with _forwarded_to(pid):
        return _attend(pid, master)


class _forwarded_to:  # noqa: N801 a verb in a with statement
    """Signals to this process go on to ``pid`` within the block."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        for name in _FORWARDED:
            number = signal.Signals[name]
            self._before[number] = signal.signal(number, self._forward)

    def _forward(self, number: int, _frame: object) -> None:
        try:
            os.kill(self._pid, number)  # our own child, reaped by us only, after this block
        except ProcessLookupError:
            pass

    def __exit__(self, *_unused: object) -> None:
        for number, action in self._before.items():
            signal.signal(number, action)  # type: ignore[arg-type]


def _attend(pid: int, master: int) -> int:
    """Wait for a child, relaying its terminal if it has one, and return its exit code."""
    if master >= 0:
        from notebook_containers.runtime import relay

        relay.run(pid, master)
    while True:
        found, status = os.waitpid(-1, 0)
        if found == pid:
            return processes.exit_code(status)

"""Why a life of a container ended, as far as only its monitor can know: the signal, memory, the disk, a call that seccomp denied.

These are facts for :mod:`notebook_containers.engine.verdict`, gathered before the cgroup and the process are gone.
"""

from __future__ import annotations

import os
import select
import signal
import time

from notebook_containers.linux import process as processes
from notebook_containers.runtime import document
from notebook_containers.runtime.clients import Client
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.limits import Limits

_FULL_BYTES = 1 << 20
_AUDIT_S = 0.3
_REQUESTS_KEPT = 4


def facts(pid: int, status: int, limits: Limits, directory: str, *, log_full: bool) -> Table:
    """Return what is known of a first process with this wait status; ``directory`` is where the container's files lie."""
    if status == 0:
        return {"signal": 0, "oomKilled": False, "diskFull": False, "denied": ""}
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    killed = processes.exit_code(status) == 128 + signal.SIGKILL and limits.oom_killed()
    found: Table = {"signal": number, "oomKilled": killed, "oomKills": limits.oom_kills(), **limits.memory()}
    found["diskFull"] = log_full or disk_full(directory)
    found["denied"] = denied_call(pid) if number == signal.SIGSYS else ""
    return found


def disk_full(directory: str) -> bool:
    """Tell whether nothing can be written where this directory lies: less than 1 MiB is left for us, or no inode."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    return blocks * found.f_frsize < _FULL_BYTES or (found.f_files > 0 and found.f_ffree == 0)


def denied_call(pid: int) -> str:
    """Return the name of the system call that seccomp killed this process for, or an empty text when the kernel's log does not say.

    The kernel writes each such end to its log (audit record 1326), a moment later; ordinary users may often not read it.
    """
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return _find(log, f" pid={pid} ", time.monotonic() + _AUDIT_S)
    finally:
        os.close(log)


def _find(log: int, wanted: str, deadline: float) -> str:
    poll = select.poll()
    poll.register(log, select.POLLIN)
    while True:
        try:
            record = os.read(log, 8192).decode("utf-8", "replace")
        except BlockingIOError:
            if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
                return ""
            continue
        except OSError:  # EPIPE: records were overwritten meanwhile
            continue
        if "type=1326" in record and wanted in record and " sig=31 " in record:
            return _name(record.partition(" syscall=")[2].split()[0])
        if time.monotonic() > deadline:
            return ""


def _name(number: str) -> str:
    from notebook_containers.linux import seccomp_numbers

    return seccomp_numbers.name_of(int(number)) if number.isdecimal() else ""


def note_request(state: Table, client: Client, request: Table) -> None:
    """Remember in ``state`` who asked for which signal and why: at the end it is the answer to "who killed it?"."""
    pid, uid = client.peer()
    asked: Table = {"signal": document.number(request, "signal"), "why": document.text(request, "why"), "at": time.time()}
    asked.update(pid=pid, uid=uid, command=processes.name_of(pid))
    kept = state.get("requests")
    state["requests"] = [*(kept if isinstance(kept, list) else []), asked][-_REQUESTS_KEPT:]

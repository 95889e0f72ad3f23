"""Entering a container whose root may trace: nothing in it runs from the newcomer's birth until the newcomer is its own command.

With CAP_SYS_PTRACE and no user namespace of its own the container's root may trace every process it sees, whether dumpable or not
(ptrace(2), "Ptrace access mode checking"): also one on its way in, which still has all rights (the class of CVE-2016-9962). So the
container's group is frozen first. The newcomer stays outside of that freezer and is held, by us as its tracer, where its execve(2) is
over; there it comes into the group, and everything goes on. A second process lets the container go on should this one be killed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from notebook_containers.errors import Conflict
from notebook_containers.linux import process as processes, syscalls
from notebook_containers.runtime.limits import Limits

_EXECUTED = signal.SIGTRAP | syscalls.PTRACE_EVENT_EXEC << 8


@contextmanager
def standing_still(limits: Limits) -> Iterator[None]:
    """Freeze the container's group while the block runs, whatever ends it; Conflict when it is frozen already (paused)."""
    lock = limits.lock_freezer()
    try:
        if limits.frozen():
            raise Conflict("the container is paused", hint="unpause it first")
        with _guarded(limits, lock):
            yield
    finally:
        os.close(lock)


@contextmanager
def _guarded(limits: Limits, lock: int) -> Iterator[None]:
    # not Limits.freeze: that takes the lock which is held here
    reading, writing = os.pipe2(os.O_CLOEXEC)
    guard = os.fork()
    if guard == 0:
        _guard(limits, reading, lock)
    os.close(reading)
    try:
        limits.change_state(frozen=True)
        yield
    finally:
        limits.change_state(frozen=False)
        os.write(writing, b"k")
        os.close(writing)
        os.waitpid(guard, 0)


def _guard(limits: Limits, reading: int, lock: int) -> None:
    """Wait for the word that all is well, or for the end of who should have said it; never returns."""
    try:
        processes.keep_only([reading, lock])
        os.setsid()
        processes.set_name("nbc-guard")
        if not os.read(reading, 1):
            limits.change_state(frozen=False)
    finally:
        os._exit(0)


def hold(pid: int) -> None:
    """Become the tracer of a child that waits for our word, so that it stops when its execve(2) is over; it dies with this process."""
    syscalls.ptrace(syscalls.PTRACE_SEIZE, pid, syscalls.PTRACE_O_TRACEEXEC | syscalls.PTRACE_O_EXITKILL)


def executed(pid: int) -> bool:
    """Wait until the child stands at the end of its execve(2); False when it ended instead (it is not reaped then)."""
    while True:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        if found is None or found.si_code not in (os.CLD_TRAPPED, os.CLD_STOPPED):
            return False
        if found.si_status == _EXECUTED:
            return True
        status = os.waitpid(pid, os.WUNTRACED)[1]  # a signal for it: it is passed on
        syscalls.ptrace(syscalls.PTRACE_CONT, pid, os.WSTOPSIG(status) if status >> 16 == 0 else 0)


def let_go(pid: int) -> None:
    """Stop being the tracer of a child that stands: it goes on."""
    syscalls.ptrace(syscalls.PTRACE_DETACH, pid)

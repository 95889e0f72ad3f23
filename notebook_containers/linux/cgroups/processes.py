"""Kill all processes of a group: exactly those, and until none is left."""

from __future__ import annotations

import errno
import os
import time

from notebook_containers.linux import syscalls
from notebook_containers.linux.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from notebook_containers.linux.cgroups.protocol import Cgroup

_SIGKILL = 9
_AT_ONCE = 64  # descriptors held open at a time


def kill_all(group: Cgroup, *, timeout_s: float) -> None:
    """Kill the members of ``group`` until there is none; TimeoutError names those left after ``timeout_s`` seconds.

    Every round freezes the group first where it can, so that a fork bomb stands still while it is listed.
    """
    deadline = time.monotonic() + timeout_s
    while group.pids():
        if time.monotonic() >= deadline:
            raise TimeoutError(errno.ETIMEDOUT, f"kill: {files.describe(group.pids())} cannot be killed (yet)")
        thaw = group.thawing()  # has what it needs now: later no descriptor may be to be had
        try:
            try:
                group.freeze(timeout_s=0.1)
            except OSError:
                pass
            kill_members(group.pids)
        finally:  # also when the caller is interrupted: frozen processes of version 1 die only when they go on
            thaw()
        files.wait_until(lambda: not group.pids(), timeout_s=0.1)


def kill_members(members: Callable[[], list[int]]) -> None:
    """Send SIGKILL once to every process that ``members`` lists.

    A number can pass to a stranger between the list and the signal. So each is first held by a descriptor, then the list is read again:
    who is in it and was held before is a member, or dead (then the descriptor reaches nobody).
    """
    pids = members()
    for start in range(0, len(pids), _AT_ONCE):
        held = {pid: fd for pid in pids[start : start + _AT_ONCE] if (fd := _hold(pid)) is not None}
        try:
            still = set(members())
            for pid, fd in held.items():
                if pid in still:
                    _kill(fd)
        finally:
            for fd in held.values():
                os.close(fd)


def _hold(pid: int) -> int | None:
    """Return a descriptor of a process; None when it has gone."""
    try:
        return syscalls.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _kill(fd: int) -> None:
    """Kill the process behind a descriptor, if it is still there."""
    try:
        syscalls.syscall("pidfd_send_signal", fd, _SIGKILL, None, 0)
    except ProcessLookupError:
        pass

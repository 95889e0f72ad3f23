"""Processes that were killed and do not end: the kernel holds them in uninterruptible sleep, where no signal reaches them (state D).

What holds them is a file system or a device that does not answer: a network file system whose server is gone, a stopped FUSE server, a
broken disk. While one process of a pid namespace is held, its first process does not end either (zap_pid_ns_processes in the kernel).
"""

from __future__ import annotations

from collections.abc import Iterable

from notebook_containers.errors import StuckProcess
from notebook_containers.linux import process as processes

SOON_S = 2.0
_SHOWN = 3


def held(pids: Iterable[int]) -> list[int]:
    """Return those of ``pids`` that the kernel holds."""
    return [pid for pid in pids if "D" in processes.states(pid)]


def error(id: str, pids: Iterable[int]) -> StuckProcess:
    """Return the error that names the processes that keep a killed container from ending."""
    named = [f"{pid} ({processes.name_of(pid) or '?'})" for pid in pids]
    shown = ", ".join(named[:_SHOWN]) + (", …" if len(named) > _SHOWN else "")
    what = f"the kernel holds process {shown}" if named else "its processes do not end"
    return StuckProcess(
        f"container {id[:12]} was killed but is not over: {what}",
        hint="it ends once the disk, network file system or device that it waits for answers or is unmounted by force: try again then",
    )

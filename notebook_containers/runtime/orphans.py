"""What a monitor that was killed, or a machine that restarted, left of a container: processes to signal, a cgroup to empty and remove."""

from __future__ import annotations

import os
import signal as signals
from contextlib import suppress
from pathlib import Path

from notebook_containers.errors import Conflict
from notebook_containers.linux import cgroups, process as processes
from notebook_containers.runtime import document, limits, stuck
from notebook_containers.runtime.state import ContainerState
from notebook_containers.runtime.stuck import SOON_S

_GONE_S = 10.0


def sweep(bundle: Path) -> None:
    """Kill and remove what is left in the cgroup of a container that has no monitor, when the run directory does not know it either."""
    with suppress(OSError, ValueError):
        plain = document.PlainBundle(os.fspath(bundle))
        left = limits.Limits(document.text(plain.linux(), "cgroupsPath"), {})
        left.open()
        left.kill()
        left.remove()


def forget_group(path: str) -> None:
    """Remove a cgroup where nobody is, if it is there: of a container that was expected and not made."""
    for directory in cgroups.open_cgroup(path).locations().values():
        with suppress(OSError):
            os.rmdir(directory)


def signal(state: ContainerState, number: int) -> None:
    """Signal the first process of a container without a monitor; Conflict when it is gone. SIGKILL ends its whole group."""
    try:
        processes.send_signal(state.pid, state.pid_started, number)
    except ProcessLookupError:
        raise Conflict(f"container {state.id[:12]} is not running") from None
    if number == signals.SIGKILL:
        kill_group(state)  # it may stand still, and then dies only when its whole group is let go
        processes.wait_gone(state.pid, state.pid_started, _GONE_S)


def limits_of(state: ContainerState) -> limits.Limits:
    """Return the container's cgroup as its monitor made it."""
    return limits.restore({**state.to_json()})


def remove_cgroup(state: ContainerState) -> None:
    """Remove what a killed monitor could not."""
    kill_group(state).remove()


def kill_group(state: ContainerState) -> limits.Limits:
    """Kill all that is left in a container's cgroup and return it; StuckProcess when the kernel does not let something end."""
    group = limits_of(state)
    try:
        group.kill(timeout_s=SOON_S if stuck.held(group.pids()) else _GONE_S)
    except TimeoutError:
        raise stuck.error(state.id, group.pids()) from None
    return group

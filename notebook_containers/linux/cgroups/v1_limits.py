"""Limits as each version 1 controller takes them (cgroup-v1/*.rst); every function gets one group's directory and OCI values."""

from __future__ import annotations

import errno
import os

from notebook_containers.linux.cgroups import block, files
from notebook_containers.linux.cgroups.convert import limit_text
from notebook_containers.linux.cgroups.resources import entries, integer, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def set_memory(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set limit, limit with swap, reservation, how eagerly to swap, and whether who is over the limit waits; return warnings."""
    limit, swap = integer(values, "limit"), integer(values, "swap")
    both = f"{directory}/memory.memsw.limit_in_bytes"
    before = files.read_integer(both)
    writes = [(f"{directory}/memory.limit_in_bytes", limit)]
    if before is not None:
        writes = _with_swap(writes, both, before, limit, swap)
    writes.append((f"{directory}/memory.soft_limit_in_bytes", integer(values, "reservation")))
    for path, value in writes:
        if value:
            files.write(path, str(value))
    if "swappiness" in values:
        files.write(f"{directory}/memory.swappiness", str(integer(values, "swappiness")))
    if "disableOOMKiller" in values:
        files.write(f"{directory}/memory.oom_control", str(int(values["disableOOMKiller"] is True)))
    return files.swap_warning(swap) if before is None and swap > 0 else []


def _with_swap(writes: list[tuple[str, int]], both: str, before: int, limit: int, swap: int) -> list[tuple[str, int]]:
    """Add the limit of memory and swap, in the order in which it is never below the limit of memory."""
    if not swap and (limit == -1 or limit > before):
        swap = limit
    raised = swap < 0 or swap >= before
    return [(both, swap), *writes] if raised else [*writes, (both, swap)]


def set_cpu(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set shares, period and quota."""
    if shares := integer(values, "shares"):
        files.write(f"{directory}/cpu.shares", str(shares))
    pairs = [("cpu.cfs_period_us", integer(values, "period")), ("cpu.cfs_quota_us", integer(values, "quota"))]
    writes = [(f"{directory}/{name}", str(value)) for name, value in pairs if value]
    try:
        _write_all(writes)
    except OSError as error:
        # A new period with the old quota can be more than the group above has: then the quota goes first.
        if error.errno != errno.EINVAL or len(writes) < 2:
            raise
        _write_all([writes[1], writes[0]])
    return _set_realtime(directory, values)


def _set_realtime(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set the part of the time that real-time processes may take; return a warning when the kernel does not share that out."""
    if "realtimeRuntime" not in values and "realtimePeriod" not in values:
        return []
    if not os.path.exists(f"{directory}/cpu.rt_runtime_us"):
        return ["the real-time cpu limit is not enforced: this kernel has no real-time groups"]
    if period := integer(values, "realtimePeriod"):
        files.write(f"{directory}/cpu.rt_period_us", str(period))
    if "realtimeRuntime" in values:
        _give_realtime(directory, integer(values, "realtimeRuntime"))
    return []


def _give_realtime(directory: str, runtime: int) -> None:
    """Write the runtime; a new group has none to hand on: when the group above has too little (EINVAL), it is added there first."""
    try:
        files.write(f"{directory}/cpu.rt_runtime_us", str(runtime))
    except OSError as error:
        above = directory.rpartition("/")[0]
        given = files.read_integer(f"{above}/cpu.rt_runtime_us")
        if error.errno != errno.EINVAL or given is None or not os.path.exists(f"{above}/../cpu.rt_runtime_us"):
            raise
        periods = [files.read_integer(f"{group}/cpu.rt_period_us") or 1_000_000 for group in (above, directory)]
        _give_realtime(above, given + -(-runtime * periods[0] // periods[1]))
        files.write(f"{directory}/cpu.rt_runtime_us", str(runtime))


def set_pids(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set how many processes and threads there may be."""
    if "limit" in values:
        files.write(f"{directory}/pids.max", limit_text(integer(values, "limit")))
    return []


def set_blkio(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set weights and throttles of block devices; return a warning where weights mean nothing."""
    warnings = []
    if block.asks_for_weights(values):
        name = next((n for n in ("blkio.bfq.weight", "blkio.weight") if os.path.exists(f"{directory}/{n}")), "")
        if name:
            warnings += block.set_weights(f"{directory}/{name}", values, int)
        warnings = warnings or block.weight_warnings()
    for key, file, _word in block.THROTTLES:
        for device in entries(values, key):
            files.write(f"{directory}/{file}", f"{block.number(device)} {integer(device, 'rate')}")
    return warnings


def set_cpuset(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set the processors and the memory nodes."""
    for name, key in (("cpuset.cpus", "cpus"), ("cpuset.mems", "mems")):
        if value := text(values, key):
            files.write(f"{directory}/{name}", value)
    return []


def fill_cpuset(base: str, relative: str) -> None:
    """Give every group from ``base`` down to ``relative`` the lists of the one above, where its own are still empty.

    A new cpuset group has empty lists, and refuses processes until both are filled.
    """
    above = base
    for part in relative.split("/"):
        group = f"{above}/{part}"
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not files.read(f"{group}/{name}"):
                files.write(f"{group}/{name}", files.read(f"{above}/{name}"))
        above = group


def _write_all(writes: list[tuple[str, str]]) -> None:
    """Write each value to its file, in order."""
    for path, value in writes:
        files.write(path, value)

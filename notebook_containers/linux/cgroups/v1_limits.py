"""Limits as each version 1 controller takes them (cgroup-v1/*.rst); every function gets one group's directory and OCI values."""

from __future__ import annotations

import errno

from notebook_containers.linux.cgroups import files
from notebook_containers.linux.cgroups.convert import limit_text
from notebook_containers.linux.cgroups.resources import entries, integer, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)


def set_memory(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set limit, limit with swap, and reservation; return warnings."""
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
    return []


def set_pids(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set how many processes and threads there may be."""
    if "limit" in values:
        files.write(f"{directory}/pids.max", limit_text(integer(values, "limit")))
    return []


def set_blkio(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set weight and throttles of block devices; return a warning when the kernel has no weights."""
    warnings = []
    if weight := integer(values, "weight"):
        name = next((n for n in ("blkio.bfq.weight", "blkio.weight") if files.read_or(f"{directory}/{n}")), "")
        if name:
            files.write(f"{directory}/{name}", str(weight))
        else:
            warnings.append(f"block io weight {weight} is not enforced: no io scheduler of this kernel has weights")
    for key, file in _THROTTLES:
        for device in entries(values, key):
            line = f"{integer(device, 'major')}:{integer(device, 'minor')} {integer(device, 'rate')}"
            files.write(f"{directory}/{file}", line)
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

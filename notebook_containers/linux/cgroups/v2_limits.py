"""Limits as version 2 takes them (cgroup-v2.rst, "Controllers"); every function gets the group's directory and OCI values."""

from __future__ import annotations

import os

from notebook_containers.linux.cgroups import files
from notebook_containers.linux.cgroups.convert import io_weight, limit_text, weight_from_shares
from notebook_containers.linux.cgroups.resources import entries, integer, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def set_memory(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set limit, swap (OCI counts memory and swap together, version 2 swap alone), and reservation; return warnings."""
    warnings = []
    limit, swap, reservation = integer(values, "limit"), integer(values, "swap"), integer(values, "reservation")
    if limit == -1 and not swap:
        swap = -1
    if swap:
        warnings = _set_swap(directory, swap, limit or files.read_integer(f"{directory}/memory.max") or 0)
    if limit:
        files.write(f"{directory}/memory.max", limit_text(limit))
    if reservation:
        files.write(f"{directory}/memory.low", limit_text(reservation))
    return warnings


def _set_swap(directory: str, swap: int, limit: int) -> list[str]:
    """Set how much swap there is beyond the memory limit; return a warning when the kernel does not count swap."""
    path = f"{directory}/memory.swap.max"
    if not os.path.exists(path):
        return files.swap_warning(swap)
    files.write(path, "max" if swap < 0 else str(max(swap - max(limit, 0), 0)))
    return []


def set_cpu(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set weight, quota and period; a period alone keeps the quota that is there."""
    if shares := integer(values, "shares"):
        files.write(f"{directory}/cpu.weight", str(weight_from_shares(shares)))
    quota, period = integer(values, "quota"), integer(values, "period")
    if quota or period:
        present = files.read(f"{directory}/cpu.max").split()
        first = limit_text(quota) if quota else present[0]
        files.write(f"{directory}/cpu.max", f"{first} {period or present[1]}")
    return []


def set_cpuset(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set the processors and the memory nodes."""
    for name, key in (("cpuset.cpus", "cpus"), ("cpuset.mems", "mems")):
        if value := text(values, key):
            files.write(f"{directory}/{name}", value)
    return []


def set_pids(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set how many processes and threads there may be."""
    if "limit" in values:
        files.write(f"{directory}/pids.max", limit_text(integer(values, "limit")))
    return []


def set_io(directory: str, values: Mapping[str, object]) -> list[str]:
    """Set weight and throttles of block devices; return a warning when the kernel has no weights."""
    warnings = []
    if weight := integer(values, "weight"):
        # The bfq scheduler keeps version 1's numbers; io.weight belongs to the iocost controller.
        if os.path.exists(f"{directory}/io.bfq.weight"):
            files.write(f"{directory}/io.bfq.weight", str(weight))
        elif os.path.exists(f"{directory}/io.weight"):
            files.write(f"{directory}/io.weight", str(io_weight(weight)))
        else:
            warnings.append(f"block io weight {weight} is not enforced: no io scheduler of this kernel has weights")
    for key, word in _THROTTLES:
        for device in entries(values, key):
            line = f"{integer(device, 'major')}:{integer(device, 'minor')} {word}={integer(device, 'rate')}"
            files.write(f"{directory}/io.max", line)
    return warnings

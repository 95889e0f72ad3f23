"""Limits as version 2 takes them (cgroup-v2.rst, "Controllers"); every function gets the group's directory and OCI values."""

from __future__ import annotations

import os

from notebook_containers.linux.cgroups import block, files
from notebook_containers.linux.cgroups.convert import io_weight, limit_text, weight_from_shares
from notebook_containers.linux.cgroups.resources import entries, integer, section, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
    if "swappiness" in values:
        warnings.append("memory swappiness is not enforced: cgroup v2 has none for each group")
    if values.get("disableOOMKiller") is True:
        warnings.append("the out of memory killer stays on: cgroup v2 cannot turn it off")
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
    if values.get("realtimeRuntime") or values.get("realtimePeriod"):
        return ["the real-time cpu limit is not enforced: cgroup v2 has none"]
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


def set_io(directory: str, values: Mapping[str, object], *, cost_file: str) -> list[str]:
    """Set weights and throttles of block devices; return a warning where weights mean nothing."""
    warnings = []
    if block.asks_for_weights(values):
        # The bfq scheduler keeps version 1's numbers; io.weight belongs to the cost model.
        for name, scale in (("io.bfq.weight", int), ("io.weight", io_weight)):
            if os.path.exists(f"{directory}/{name}"):
                warnings += block.set_weights(f"{directory}/{name}", values, scale)
        warnings = warnings or block.weight_warnings(cost_file)
    for key, _file, word in block.THROTTLES:
        for device in entries(values, key):
            files.write(f"{directory}/io.max", f"{block.number(device)} {word}={integer(device, 'rate') or 'max'}")
    return warnings


def own_files(resources: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield (interface file, line) for what version 2 takes as it stands: huge pages, RDMA, and the OCI ``unified`` object.

    ValueError for a name in ``unified`` that is no interface file of a controller.
    """
    for page in entries(resources, "hugepageLimits"):
        yield f"hugetlb.{text(page, 'pageSize')}.max", str(integer(page, "limit"))
    for device, most in section(resources, "rdma").items():
        values = most if isinstance(most, dict) else {}
        words = [f"{name}={values[key]}" for name, key in (("hca_handle", "hcaHandles"), ("hca_object", "hcaObjects")) if key in values]
        yield "rdma.max", " ".join([device, *words])
    for name, value in section(resources, "unified").items():
        if "/" in name or name.startswith(("cgroup.", ".")) or "." not in name:
            raise ValueError(f"unified: {name!r} is no limit of a controller")
        yield name, str(value)

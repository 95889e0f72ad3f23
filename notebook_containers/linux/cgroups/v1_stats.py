"""What a group used, as each version 1 controller tells it; keys of ``Cgroup.stats``, None where the kernel tells nothing."""

from __future__ import annotations

from notebook_containers.linux.cgroups import files
from notebook_containers.linux.cgroups.convert import UNLIMITED_V1

_TICK_NS = 10_000_000  # cpuacct.stat counts in USER_HZ, which is 100 on every architecture here


def memory(directory: str) -> dict[str, int | None]:
    """Return usage, limit, peak and the file cache that the kernel would give back first."""
    limit = files.read_integer(f"{directory}/memory.limit_in_bytes")
    return {
        "memory_usage_bytes": files.read_integer(f"{directory}/memory.usage_in_bytes"),
        "memory_limit_bytes": limit if limit is not None and limit < UNLIMITED_V1 else None,
        "memory_peak_bytes": files.read_integer(f"{directory}/memory.max_usage_in_bytes"),
        "memory_cache_bytes": files.read_table(f"{directory}/memory.stat").get("total_inactive_file"),
    }


def cpuacct(directory: str) -> dict[str, int | None]:
    """Return processor time."""
    ticks = files.read_table(f"{directory}/cpuacct.stat")
    return {
        "cpu_usage_ns": files.read_integer(f"{directory}/cpuacct.usage"),
        "cpu_user_ns": ticks["user"] * _TICK_NS if "user" in ticks else None,
        "cpu_system_ns": ticks["system"] * _TICK_NS if "system" in ticks else None,
    }


def cpu(directory: str) -> dict[str, int | None]:
    """Return how often and how long the quota held the group back."""
    table = files.read_table(f"{directory}/cpu.stat")
    return {
        "cpu_periods": table.get("nr_periods"),
        "cpu_throttled_periods": table.get("nr_throttled"),
        "cpu_throttled_ns": table.get("throttled_time"),
    }


def pids(directory: str) -> dict[str, int | None]:
    """Return the number of processes and threads, and its limit."""
    return {
        "pids_current": files.read_integer(f"{directory}/pids.current"),
        "pids_limit": files.read_integer(f"{directory}/pids.max"),
    }


def blkio(directory: str) -> dict[str, int | None]:
    """Return bytes read from and written to block devices, the groups below included."""
    totals = {"Read": 0, "Write": 0}
    text = files.read_or(f"{directory}/blkio.throttle.io_service_bytes_recursive")
    for words in (line.split() for line in text.splitlines()):
        if len(words) == 3 and words[1] in totals:
            totals[words[1]] += int(words[2])
    return {"io_read_bytes": totals["Read"], "io_write_bytes": totals["Write"]} if text else {}

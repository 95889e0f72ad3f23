"""What a group used, as version 2 tells it; keys of ``Cgroup.stats``."""

from __future__ import annotations

from notebook_containers.linux.cgroups import files


def read(directory: str) -> dict[str, int]:
    """Return every number that the group's controllers tell."""
    found = {**_memory(directory), **_cpu(directory), **_pids(directory), **_io(directory)}
    return {name: value for name, value in found.items() if value is not None}


def _memory(directory: str) -> dict[str, int | None]:
    """Return usage, limit, peak (since 5.19) and the file cache that the kernel would give back first."""
    return {
        "memory_usage_bytes": files.read_integer(f"{directory}/memory.current"),
        "memory_limit_bytes": files.read_integer(f"{directory}/memory.max"),
        "memory_peak_bytes": files.read_integer(f"{directory}/memory.peak"),
        "memory_cache_bytes": files.read_table(f"{directory}/memory.stat").get("inactive_file"),
    }


def _cpu(directory: str) -> dict[str, int | None]:
    """Return processor time (known without the controller too), and how the quota held the group back."""
    table = files.read_table(f"{directory}/cpu.stat")
    found: dict[str, int | None] = {
        f"cpu_{name}_ns": table[f"{name}_usec"] * 1000 for name in ("usage", "user", "system", "throttled") if f"{name}_usec" in table
    }
    return {**found, "cpu_periods": table.get("nr_periods"), "cpu_throttled_periods": table.get("nr_throttled")}


def _pids(directory: str) -> dict[str, int | None]:
    """Return the number of processes and threads, and its limit."""
    return {
        "pids_current": files.read_integer(f"{directory}/pids.current"),
        "pids_limit": files.read_integer(f"{directory}/pids.max"),
    }


def _io(directory: str) -> dict[str, int | None]:
    """Return bytes read from and written to block devices."""
    text = files.read_or(f"{directory}/io.stat", "none")
    words = [word.partition("=") for line in text.splitlines() for word in line.split()[1:]]
    if text == "none":
        return {}
    return {
        f"io_{name}_bytes": sum(int(value) for key, _, value in words if key == short)
        for name, short in (("read", "rbytes"), ("write", "wbytes"))
    }

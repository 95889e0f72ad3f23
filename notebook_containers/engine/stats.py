"""What a container uses: samples in the shape of docker-py's ``stats()``, and the numbers Docker's table shows of two of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from notebook_containers.engine import launch
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.linux import cgroups, namespaces
from notebook_containers.oci.documents import JSON
from notebook_containers.runtime.state import ContainerState

BETWEEN_S = 0.5
"""How long one shot measures the processors: long against the 10 ms in which version 1 counts, short against people's patience."""

_ZERO_TIME = "0001-01-01T00:00:00Z"
_NETWORK = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped")
_COLUMNS = (0, 1, 2, 3, 8, 9, 10, 11)  # of /proc/<pid>/net/dev
Table = dict[str, JSON]


def sample(parts: Parts, container_id: str, name: str, *, before: Mapping[str, JSON] | None = None) -> Table:
    """Return one sample; ``before`` is the sample that it is to be compared with, whose processor times become ``precpu_stats``.

    Without a cgroup the numbers are the sums over its processes as they are now. All zero, with the zero time, when it does not run.
    """
    state = launch.state(parts, container_id)
    running = state.status in ("running", "paused")
    used = _used(parts, state) if running else {}
    cpu = _cpu(used)
    return {
        "id": container_id,
        "name": f"/{name}",
        "read": rfc3339(time.time()) if running else _ZERO_TIME,
        "preread": str(before["read"]) if before else _ZERO_TIME,
        "pids_stats": {k: v for k, v in (("current", used.get("pids_current", 0)), ("limit", used.get("pids_limit"))) if v is not None},
        "num_procs": 0,
        "cpu_stats": cpu,
        "precpu_stats": before["cpu_stats"] if before else _cpu({}),
        "memory_stats": _memory(parts, used) if running else {},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 0, "minor": 0, "op": op, "value": used[key]}
                for op, key in (("read", "io_read_bytes"), ("write", "io_write_bytes"))
                if key in used
            ]
        },
        "networks": _networks(state.pid) if running else {},
    }


def stream(parts: Parts, container_id: str, name: str, *, interval_s: float = 1.0) -> Iterator[Table]:
    """Yield a sample at once and then one each ``interval_s``, each compared with the one before, until the container ends."""
    before: Table | None = None
    while True:
        found = sample(parts, container_id, name, before=before)
        if before is not None and found["read"] == _ZERO_TIME:
            return
        yield found
        before = found
        time.sleep(interval_s)


def once(parts: Parts, container_id: str, name: str, *, one_shot: bool = False) -> Table:
    """Return one sample, compared with one of half a second before unless ``one_shot``."""
    first = sample(parts, container_id, name)
    if one_shot or first["read"] == _ZERO_TIME:
        return first
    time.sleep(BETWEEN_S)
    return sample(parts, container_id, name, before=first)


def row(found: Mapping[str, JSON]) -> dict[str, object]:
    """Return Docker's table of one sample as numbers: per cent of one processor, bytes, processes; memory without the file cache."""
    memory, networks = _table(found, "memory_stats"), _table(found, "networks")
    links = [link for link in networks.values() if isinstance(link, dict)]
    usage, limit = memory_used(memory), _number(memory, "limit")
    return {
        "container_id": str(found["id"])[:12],
        "name": str(found["name"]).removeprefix("/"),
        "cpu_percent": cpu_percent(found),
        "mem_usage": usage,
        "mem_limit": limit,
        "mem_percent": 100 * usage / limit if limit else 0.0,
        "net_rx": sum(_number(link, "rx_bytes") for link in links),
        "net_tx": sum(_number(link, "tx_bytes") for link in links),
        "block_read": _block(found, "read"),
        "block_write": _block(found, "write"),
        "pids": _number(_table(found, "pids_stats"), "current"),
    }


def cpu_percent(found: Mapping[str, JSON]) -> float:
    """Return Docker's figure: the container's share of the machine's processor time between two samples, times the processors."""
    now, before = _table(found, "cpu_stats"), _table(found, "precpu_stats")
    used = _number(_table(now, "cpu_usage"), "total_usage") - _number(_table(before, "cpu_usage"), "total_usage")
    passed = _number(now, "system_cpu_usage") - _number(before, "system_cpu_usage")
    if not _number(before, "system_cpu_usage") or passed <= 0 or used < 0:
        return 0.0
    return used / passed * _number(now, "online_cpus") * 100


def memory_used(memory: Mapping[str, JSON]) -> int:
    """Return Docker's figure: usage without the inactive file cache."""
    usage, details = _number(memory, "usage"), _table(memory, "stats")
    cache = _number(details, "total_inactive_file") or _number(details, "inactive_file")
    return usage - cache if cache < usage else usage


# -- the parts of a sample -----------------------------------------------------------------------------------------------------------------


def _used(parts: Parts, state: ContainerState) -> dict[str, int]:
    found: dict[str, int] = {}
    if state.cgroup and state.cgroup_locations:
        found = cgroups.restore_cgroup(state.cgroup, state.cgroup_locations).stats()
    if not {"cpu_usage_ns", "memory_usage_bytes", "pids_current"} <= found.keys():
        found = {**_of_processes(parts.runtime.pids(state.id)), **found}
    return found


def _of_processes(pids: list[int]) -> dict[str, int]:
    """Add up what living processes used: all there is where no cgroup can be made."""
    totals = dict.fromkeys(("cpu_usage_ns", "cpu_user_ns", "cpu_system_ns", "memory_usage_bytes", "pids_current"), 0)
    tick, page = 10**9 // os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        totals["cpu_user_ns"] += int(fields[11]) * tick
        totals["cpu_system_ns"] += int(fields[12]) * tick
        totals["pids_current"] += int(fields[17])
        totals["memory_usage_bytes"] += int(fields[21]) * page
    totals["cpu_usage_ns"] = totals["cpu_user_ns"] + totals["cpu_system_ns"]
    return totals


def _cpu(used: Mapping[str, int]) -> Table:
    found: Table = {
        "cpu_usage": {
            "total_usage": used.get("cpu_usage_ns", 0),
            "usage_in_kernelmode": used.get("cpu_system_ns", 0),
            "usage_in_usermode": used.get("cpu_user_ns", 0),
        },
        "throttling_data": {
            "periods": used.get("cpu_periods", 0),
            "throttled_periods": used.get("cpu_throttled_periods", 0),
            "throttled_time": used.get("cpu_throttled_ns", 0),
        },
    }
    return {**found, "system_cpu_usage": _system_ns(), "online_cpus": os.cpu_count() or 1} if used else found


def _system_ns() -> int:
    """Return the machine's processor time, idle time included, as Docker counts it: user to steal (proc_stat(5))."""
    with open("/proc/stat", encoding="ascii") as file:
        words = file.readline().split()[1:9]
    return sum(int(word) for word in words) * (10**9 // os.sysconf("SC_CLK_TCK"))


def _memory(parts: Parts, used: Mapping[str, int]) -> Table:
    usage = used.get("memory_usage_bytes", 0)
    limit = min(used.get("memory_limit_bytes", parts.host.memory_bytes), parts.host.memory_bytes)
    found: Table = {"usage": usage, "limit": limit, "stats": {"inactive_file": used.get("memory_cache_bytes", 0)}}
    return {**found, "max_usage": used["memory_peak_bytes"]} if "memory_peak_bytes" in used else found


def _networks(pid: int) -> Table:
    try:
        if namespaces.same_namespace(pid, "network"):  # the machine's own traffic is not the container's
            return {}
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return {}
    links: Table = {}
    for line in lines:
        name, _, numbers = line.partition(":")
        values = numbers.split()
        if name.strip() != "lo":
            links[name.strip()] = {key: int(values[column]) for key, column in zip(_NETWORK, _COLUMNS, strict=True)}
    return links


def _block(found: Mapping[str, JSON], op: str) -> int:
    lines = _table(found, "blkio_stats").get("io_service_bytes_recursive")
    return (
        sum(_number(line, "value") for line in lines if isinstance(line, dict) and line.get("op") == op) if isinstance(lines, list) else 0
    )


def _table(data: Mapping[str, JSON], key: str) -> Table:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _number(data: Mapping[str, JSON], key: str) -> int:
    value = data.get(key)
    return value if isinstance(value, int) else 0

"""The OCI ``linux.resources`` object, read with types, and what it asks for in words; pure."""

from __future__ import annotations

from notebook_containers.linux.cgroups import convert

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KNOWN = {
    "memory": ("limit", "reservation", "swap", "swappiness", "disableOOMKiller", "useHierarchy", "checkBeforeUpdate"),
    "cpu": ("shares", "quota", "period", "cpus", "mems", "realtimeRuntime", "realtimePeriod"),
    "pids": ("limit",),
    "blockIO": (
        *("weight", "weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice"),
        *("throttleReadIOPSDevice", "throttleWriteIOPSDevice"),
    ),
}
_V2_ONLY = ("hugepageLimits", "rdma", "unified")


def section(resources: Mapping[str, object], name: str) -> dict[str, object]:
    """Return the object ``name``, empty when absent."""
    value = resources.get(name)
    return value if isinstance(value, dict) else {}


def entries(resources: Mapping[str, object], name: str) -> list[dict[str, object]]:
    """Return the list of objects ``name``, empty when absent."""
    value = resources.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def integer(values: Mapping[str, object], name: str) -> int:
    """Return the number ``name``, 0 when absent."""
    value = values.get(name)
    return value if isinstance(value, int) else 0


def text(values: Mapping[str, object], name: str) -> str:
    """Return the text ``name``, "" when absent."""
    value = values.get(name)
    return value if isinstance(value, str) else ""


def wanted(resources: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield (controller by its version 1 name, the limit in words) for everything that ``resources`` asks for."""
    memory, cpu, pids = section(resources, "memory"), section(resources, "cpu"), section(resources, "pids")
    if limit := integer(memory, "limit"):
        yield "memory", f"memory limit {convert.words(limit)}"
    if reservation := integer(memory, "reservation"):
        yield "memory", f"memory reservation {convert.words(reservation)}"
    if (swap := integer(memory, "swap")) > 0 and swap != limit:
        yield "memory", f"swap limit {convert.words(swap)}"
    if isinstance(memory.get("swappiness"), int):
        yield "memory", f"memory swappiness {integer(memory, 'swappiness')}"
    if memory.get("disableOOMKiller") is True:
        yield "memory", "switching the out-of-memory killer off"
    if runtime := integer(cpu, "realtimeRuntime"):
        yield "cpu", f"real-time cpu runtime {runtime} µs"
    if shares := integer(cpu, "shares"):
        yield "cpu", f"cpu shares {shares}"
    if (quota := integer(cpu, "quota")) > 0:
        yield "cpu", f"cpu quota {quota}/{integer(cpu, 'period') or 100000} µs"
    if cpus := text(cpu, "cpus"):
        yield "cpuset", f"cpu set {cpus}"
    if mems := text(cpu, "mems"):
        yield "cpuset", f"memory node set {mems}"
    if (processes := integer(pids, "limit")) > 0:
        yield "pids", f"pids limit {processes}"
    if entries(resources, "devices"):
        yield "devices", "device list"
    if section(resources, "blockIO"):
        yield "blkio", "block io limit"


def unknown(resources: Mapping[str, object], *, version: int) -> list[str]:
    """Return a warning for each kind of limit that nothing here can enforce with this cgroup version."""
    found = []
    for name, value in resources.items():
        if name in _V2_ONLY and version != 2 and value:
            found.append(f"the limit {name!r} is not enforced: it is supported on cgroup v2 only")
        elif name in _KNOWN and isinstance(value, dict):
            found += [f"{name}.{member}" for member, asked in value.items() if asked and member not in _KNOWN[name]]
        elif value and name not in (*_KNOWN, *_V2_ONLY, "devices"):
            found.append(name)
    return [what if " " in what else f"the limit {what!r} is not enforced: it is not supported" for what in found]

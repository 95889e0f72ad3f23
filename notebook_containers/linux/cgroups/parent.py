"""The group above all containers: what it keeps back for everything else on the machine.

Containers together never get the last tenth of the memory (at least 1 GiB), and they yield the processor to the notebook when both want
it. Every container's creator looks (who made the group may have died before it came so far), and only who finds no limit sets one.
"""

from __future__ import annotations

from notebook_containers.linux.cgroups import files
from notebook_containers.linux.cgroups.convert import UNLIMITED_V1

_GIB = 1 << 30
_DEFAULT_SHARES, _DEFAULT_WEIGHT = 1024, 100


def memory_limit(total: int) -> int:
    """Return the limit in bytes for all containers on a machine of ``total`` bytes; half of it when it is tiny."""
    return max(total - max(total // 10, _GIB), total // 2)


def total_memory(root: str, limit_file: str) -> int:
    """Return the bytes this machine (or the group around it, whose limit is in ``limit_file``) has; 0 when unknown."""
    sizes = [limit] if 0 < (limit := files.read_integer(limit_file) or 0) < UNLIMITED_V1 else []
    for line in files.read_or(f"{root}/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            sizes.append(int(line.split()[1]) * 1024)
    return min(sizes, default=0)


def configure_v1(path: str, controllers: tuple[str, ...], *, root: str) -> None:
    """Set up a version 1 group as a parent, for the ``controllers`` of its hierarchy; what was set before is left alone."""
    if "memory" in controllers and (files.read_integer(f"{path}/memory.limit_in_bytes") or 0) >= UNLIMITED_V1:
        # Before Linux 5.11 a group limits its children only after it was told so, and only while it has none.
        if files.read_or(f"{path}/memory.use_hierarchy") == "0":
            _try_write(f"{path}/memory.use_hierarchy", "1")
        if total := total_memory(root, f"{path.rpartition('/')[0]}/memory.limit_in_bytes"):
            _try_write(f"{path}/memory.limit_in_bytes", str(memory_limit(total)))
    if "cpu" in controllers and files.read_integer(f"{path}/cpu.shares") == _DEFAULT_SHARES:
        _try_write(f"{path}/cpu.shares", str(_DEFAULT_SHARES // 2))


def configure_v2(path: str, *, root: str) -> None:
    """Set up a version 2 group as a parent; what was set before is left alone."""
    if files.read_or(f"{path}/memory.max") == "max" and (total := total_memory(root, f"{path.rpartition('/')[0]}/memory.max")):
        _try_write(f"{path}/memory.max", str(memory_limit(total)))
    if files.read_integer(f"{path}/cpu.weight") == _DEFAULT_WEIGHT:
        _try_write(f"{path}/cpu.weight", str(_DEFAULT_WEIGHT // 2))


def _try_write(path: str, value: str) -> None:
    """Write a limit of the parent; without it (a smaller limit around, say) the containers' own limits still hold."""
    try:
        files.write(path, value)
    except OSError:
        pass

"""One container's groups in the version 1 hierarchies: one per controller, and systemd's name-only one (cgroup-v1/cgroups.rst).

On a hybrid machine the version 2 tree beside them is not used: it has no controllers, and each move into it costs 10 to 20 ms.
"""

from __future__ import annotations

import errno
import os

from notebook_containers.linux.cgroups import devices, files, parent, processes, v1_limits, v1_stats
from notebook_containers.linux.cgroups.resources import entries, section, unknown, wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CPUSET = "cpuset"


class CgroupV1:
    """``bases`` is controller → directory under which ``path`` is made, ``reasons`` why the other controllers are missing."""

    __slots__ = ("_bases", "_everywhere", "_lent_parents", "_path", "_reasons", "_root")

    def __init__(
        self,
        path: str,
        bases: Mapping[str, str],
        reasons: Mapping[str, str],
        *,
        root: str = "",
        lent_parents: bool = False,
        everywhere: bool = False,
    ) -> None:
        self._path, self._bases, self._reasons, self._root = path, dict(bases), dict(reasons), root
        self._lent_parents, self._everywhere = lent_parents, everywhere

    def locations(self) -> dict[str, str]:
        """Return controller → directory."""
        return {name: self._at(base) for name, base in self._bases.items()}

    def create(self) -> None:
        """Make the groups; what was made is removed again when one cannot be."""
        try:
            for base in self._eager():
                self._make(base)
        except OSError:
            self.remove()
            raise

    def add(self, pid: int) -> None:
        """Move a process with all its threads."""
        for base in self._present():
            files.write(f"{self._at(base)}/cgroup.procs", str(pid))

    def enter(self, *, freezer: bool = True) -> None:
        """Move the calling single-threaded process."""
        # A thread that moves itself through "tasks" takes no lock against every fork and exit of the machine: 0.2 ms for all
        # hierarchies, where a move by process id first waits for an RCU grace period (cgroup_procs_write_start in the kernel).
        for base in self._present():
            if freezer or base != self._bases.get("freezer"):
                files.write(f"{self._at(base)}/tasks", "0")

    def entrances(self) -> list[int]:
        """Return a descriptor of each hierarchy to write ``0`` to."""
        return [os.open(f"{self._at(base)}/tasks", os.O_WRONLY | os.O_CLOEXEC) for base in self._present()]

    def clone_descriptor(self) -> int | None:
        """Return None: clone3(2) starts processes in version 2 groups only."""
        return None

    def apply(self, resources: Mapping[str, object]) -> list[str]:
        """Set the limits; return warnings for those that are not enforced."""
        warnings = [f"{what} is not enforced: {self._reason(name)}" for name, what in wanted(resources) if name not in self._bases]
        cpu = section(resources, "cpu")
        if _CPUSET in self._bases and (cpu.get("cpus") or cpu.get("mems")):
            self._make_cpuset(self._bases[_CPUSET])
        steps = (
            ("memory", v1_limits.set_memory, section(resources, "memory")),
            ("cpu", v1_limits.set_cpu, cpu),
            (_CPUSET, v1_limits.set_cpuset, cpu),
            ("pids", v1_limits.set_pids, section(resources, "pids")),
            ("blkio", v1_limits.set_blkio, section(resources, "blockIO")),
        )
        for name, step, values in steps:
            if name in self._bases and values:
                warnings += step(self._at(self._bases[name]), values)
        if "devices" in self._bases:
            for file, line in devices.lines(entries(resources, "devices")):
                files.write(f"{self._at(self._bases['devices'])}/{file}", line)
        return warnings + unknown(resources, version=1)

    def pids(self) -> list[int]:
        """Return the processes in the group and below."""
        bases = self._eager() or list(self._bases.values())
        return files.processes(self._at(bases[0])) if bases else []

    def kill(self, *, timeout_s: float = 10.0) -> None:
        """Kill every process."""
        processes.kill_all(self, timeout_s=timeout_s)

    def freeze(self, *, timeout_s: float = 5.0) -> None:
        """Stop every process where it is."""
        if "freezer" not in self._bases:
            raise OSError(errno.EOPNOTSUPP, f"freeze: {self._reason('freezer')}", self._path)
        state = f"{self._at(self._bases['freezer'])}/freezer.state"

        def frozen() -> bool:
            files.write(state, "FROZEN")  # again each time: a process that forked meanwhile is not asked otherwise
            return files.read(state) == "FROZEN"

        if not files.wait_until(frozen, timeout_s=timeout_s):
            self.thaw()
            raise TimeoutError(errno.ETIMEDOUT, "freeze: a process does not stop", state)

    def thaw(self) -> None:
        """Let every process go on."""
        try:
            if "freezer" in self._bases:
                files.write(f"{self._at(self._bases['freezer'])}/freezer.state", "THAWED")
        except FileNotFoundError:
            pass

    def thawing(self) -> Callable[[], None]:
        """Return what thaws it once."""
        return files.later(f"{self._at(self._bases['freezer'])}/freezer.state" if "freezer" in self._bases else "", "THAWED")

    def frozen(self) -> bool:
        """Tell whether it was asked to stand still."""
        return "freezer" in self._bases and files.read_or(f"{self._at(self._bases['freezer'])}/freezer.state") in ("FROZEN", "FREEZING")

    def stats(self) -> dict[str, int]:
        """Return what was used."""
        found: dict[str, int | None] = {}
        readers = (
            ("memory", v1_stats.memory),
            ("cpuacct", v1_stats.cpuacct),
            ("cpu", v1_stats.cpu),
            ("pids", v1_stats.pids),
            ("blkio", v1_stats.blkio),
        )
        for name, reader in readers:
            if name in self._bases:
                found.update(reader(self._at(self._bases[name])))
        return {name: value for name, value in found.items() if value is not None}

    def oom_kills(self) -> int:
        """Return how many processes were killed for want of memory; each group counts its own only."""
        groups = files.groups(self._at(self._bases["memory"])) if "memory" in self._bases else ()
        return sum(files.read_table(f"{group}/memory.oom_control").get("oom_kill", 0) for group in groups)

    def remove(self, *, timeout_s: float = 5.0) -> None:
        """Remove the groups, and the parents that they leave empty."""
        for base in dict.fromkeys(self._bases.values()):
            files.remove_group(self._at(base), timeout_s=timeout_s)
            if not self._lent_parents:
                files.remove_empty_parents(base, self._path)

    def _at(self, base: str) -> str:
        """Return the group's directory in one hierarchy."""
        return f"{base}/{self._path}"

    def _eager(self) -> list[str]:
        """Return the bases to make groups in, each once (controllers mounted together share one).

        Not cpuset: making groups there can rebuild the scheduler's domains, so they are for containers that ask for it, and where one
        is wanted everywhere (a container without a cgroup namespace would see, and stay in, the group of its caller).
        """
        return list(dict.fromkeys(base for name, base in self._bases.items() if name != _CPUSET or self._everywhere))

    def _present(self) -> list[str]:
        """Return the bases where the group exists, each once."""
        return [base for base in dict.fromkeys(self._bases.values()) if base in self._eager() or os.path.isdir(self._at(base))]

    def _make(self, base: str) -> None:
        """Make the group in one hierarchy."""
        names = tuple(name for name in self._bases if self._bases[name] == base)

        def configure(path: str) -> None:
            if not self._lent_parents:
                parent.configure_v1(path, names, root=self._root)

        files.make_group(base, self._path, configure)
        if "/" in self._path:
            configure(f"{base}/{self._path.rpartition('/')[0]}")
        if _CPUSET in names:
            v1_limits.fill_cpuset(base, self._path)

    def _make_cpuset(self, base: str) -> None:
        """Make the cpuset group, and bring in who is in the others already."""
        if not os.path.isdir(self._at(base)):
            self._make(base)
            for pid in self.pids():
                files.write(f"{self._at(base)}/cgroup.procs", str(pid))

    def _reason(self, name: str) -> str:
        """Return why a controller is not used."""
        return self._reasons.get(name) or f"no {name} cgroup was made for it"

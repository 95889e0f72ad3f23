"""One container's group in the version 2 tree (cgroup-v2.rst)."""

from __future__ import annotations

import errno
import os

from notebook_containers.linux.cgroups import files, parent, processes, v2_devices, v2_limits, v2_stats
from notebook_containers.linux.cgroups.resources import entries, section, unknown, wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CPUSET = "cpuset"
_NAMES = {"blkio": "io"}  # version 1 name → version 2 name, where they differ


class CgroupV2:
    """``base`` is the directory under which ``path`` is made ("" for nowhere), ``controllers`` what its children can have."""

    __slots__ = ("_base", "_controllers", "_lent_parents", "_path", "_reasons", "_root")

    def __init__(
        self,
        path: str,
        base: str,
        controllers: tuple[str, ...],
        reasons: Mapping[str, str],
        *,
        root: str = "",
        lent_parents: bool = False,
    ) -> None:
        self._path, self._base, self._root, self._lent_parents = path, base, root, lent_parents
        self._controllers, self._reasons = list(controllers), dict(reasons)

    def locations(self) -> dict[str, str]:
        """Return ``unified`` → directory."""
        return {"unified": self._directory} if self._base else {}

    def create(self) -> None:
        """Make the group, and enable the controllers in every group above it; parents are removed again when it cannot be made."""
        if not self._base:
            return
        controllers = [name for name in self._controllers if name != _CPUSET]
        self._enable(self._base, controllers)
        try:
            files.make_group(self._base, self._path, lambda _: None)
        except OSError:
            self.remove()
            raise
        for above in self._above()[1:]:
            if not self._lent_parents:
                parent.configure_v2(above, root=self._root)
            self._enable(above, controllers)

    def add(self, pid: int) -> None:
        """Move a process."""
        if self._base:
            files.write(f"{self._directory}/cgroup.procs", str(pid))

    def enter(self, *, freezer: bool = True) -> None:
        """Move the calling process."""
        if self._base and freezer:
            files.write(f"{self._directory}/cgroup.procs", "0")

    def entrances(self) -> list[int]:
        """Return a descriptor to write ``0`` to, where there is a group."""
        return [os.open(f"{self._directory}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)] if self._base else []

    def clone_descriptor(self) -> int | None:
        """Return the group's descriptor: a process that clone3(2) starts in it needs no move."""
        return os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if self._base else None

    def apply(self, resources: Mapping[str, object]) -> list[str]:
        """Set the limits; return warnings for those that are not enforced."""
        cpu = section(resources, "cpu")
        if self._base and (cpu.get("cpus") or cpu.get("mems")):
            self._enable_late(_CPUSET)
        warnings = [w for name, what in wanted(resources) if (w := self._warning(_NAMES.get(name, name), what))]
        steps = (
            ("memory", v2_limits.set_memory, section(resources, "memory")),
            ("cpu", v2_limits.set_cpu, cpu),
            (_CPUSET, v2_limits.set_cpuset, cpu),
            ("pids", v2_limits.set_pids, section(resources, "pids")),
        )
        for name, step, values in steps:
            if name in self._controllers and values:
                warnings += step(self._directory, values)
        if "io" in self._controllers and (io := section(resources, "blockIO")):
            warnings += v2_limits.set_io(self._directory, io, cost_file=f"{self._top()}/io.cost.qos")
        warnings += self._apply_own_files(resources)
        if self._base and (rules := entries(resources, "devices")):
            warnings += v2_devices.apply(self._directory, rules)
        return warnings + unknown(resources, version=2)

    def pids(self) -> list[int]:
        """Return the processes in the group and below."""
        return files.processes(self._directory) if self._base else []

    def kill(self, *, timeout_s: float = 10.0) -> None:
        """Kill every process: the kernel does it at once, forks and frozen ones included (since 5.14)."""
        if self._base and os.path.exists(f"{self._directory}/cgroup.kill"):
            files.write(f"{self._directory}/cgroup.kill", "1")
            if not files.wait_event(f"{self._directory}/cgroup.events", "populated", 0, timeout_s=timeout_s):
                raise TimeoutError(errno.ETIMEDOUT, f"kill: {files.describe(self.pids())} cannot be killed (yet)", self._directory)
        else:
            processes.kill_all(self, timeout_s=timeout_s)

    def freeze(self, *, timeout_s: float = 5.0) -> None:
        """Stop every process where it is."""
        if not self._base:
            raise OSError(errno.EOPNOTSUPP, "freeze: no writable cgroup for this user", self._path)
        files.write(f"{self._directory}/cgroup.freeze", "1")
        if not files.wait_event(f"{self._directory}/cgroup.events", "frozen", 1, timeout_s=timeout_s):
            self.thaw()
            raise TimeoutError(errno.ETIMEDOUT, "freeze: a process does not stop", self._directory)

    def thaw(self) -> None:
        """Let every process go on."""
        try:
            if self._base:
                files.write(f"{self._directory}/cgroup.freeze", "0")
        except FileNotFoundError:
            pass

    def thawing(self) -> Callable[[], None]:
        """Return what thaws it once."""
        return files.later(f"{self._directory}/cgroup.freeze" if self._base else "", "0")

    def frozen(self) -> bool:
        """Tell whether it was asked to stand still."""
        return bool(self._base) and files.read_or(f"{self._directory}/cgroup.freeze") == "1"

    def stats(self) -> dict[str, int]:
        """Return what was used."""
        return v2_stats.read(self._directory) if self._base else {}

    def oom_kills(self) -> int:
        """Return how many processes were killed for want of memory, the groups below included."""
        return files.read_table(f"{self._directory}/memory.events").get("oom_kill", 0) if self._base else 0

    def remove(self, *, timeout_s: float = 5.0) -> None:
        """Remove the group, and the parents that it leaves empty."""
        if self._base:
            files.remove_group(self._directory, timeout_s=timeout_s)
            if not self._lent_parents:
                files.remove_empty_parents(self._base, self._path)

    def _apply_own_files(self, resources: Mapping[str, object]) -> list[str]:
        """Write the files that only version 2 has, their controllers enabled now; return a warning for each that is not there."""
        warnings = []
        for name, line in v2_limits.own_files(resources) if self._base else ():
            path, controller = f"{self._directory}/{name}", name.partition(".")[0]
            if not os.path.exists(path):
                self._enable_late(controller)
            if os.path.exists(path):
                files.write(path, line)
            else:
                warnings.append(f"{name} is not enforced: {self._reasons.get(controller) or 'its cgroup has no such file'}")
        return warnings

    def _enable_late(self, controller: str) -> None:
        """Enable a controller that containers have only when they ask for it."""
        if controller in files.read_or(f"{self._base}/cgroup.controllers").split():
            self._controllers += [controller] if controller not in self._controllers else []
            for above in self._above():
                self._enable(above, [controller])

    def _top(self) -> str:
        """Return the hierarchy's mount point: what of the whole machine is set there."""
        path = self._base
        while os.path.exists(f"{path}/cgroup.type"):  # every group has it but the real root
            path = os.path.dirname(path)
        return path

    @property
    def _directory(self) -> str:
        """Return the group's directory."""
        return f"{self._base}/{self._path}"

    def _above(self) -> list[str]:
        """Return the groups above the container's, the base first."""
        names = self._path.split("/")[:-1]
        return ["/".join([self._base, *names[:count]]) for count in range(len(names) + 1)]

    def _enable(self, group: str, controllers: list[str]) -> None:
        """Let the children of ``group`` have controllers; one that the kernel refuses is remembered with the reason and left out.

        Done by every creator, not only by who made the group: it may not have come so far yet.
        """
        present = files.read_or(f"{group}/cgroup.subtree_control").split()
        for name in [name for name in controllers if name in self._controllers and name not in present]:
            try:
                files.write(f"{group}/cgroup.subtree_control", f"+{name}")
            except OSError as error:
                why = "holds processes itself" if error.errno == errno.EBUSY else os.strerror(error.errno or 0).lower()
                self._controllers.remove(name)
                self._reasons[name] = f"the {name} controller cannot be enabled: the group {os.path.basename(group)} {why}"

    def _warning(self, name: str, what: str) -> str:
        """Return a limit that is not enforced, in words, or "" when it can be."""
        if name in self._controllers or name == "devices":
            return ""
        return f"{what} is not enforced: {self._reasons.get(name) or f'no {name} controller in its cgroup'}"

"""A container's cgroup as its monitor uses it; without one (no path given, or none usable) every step is a no-op that is said."""

from __future__ import annotations

import errno
import fcntl
import os

from notebook_containers.errors import Unsupported
from notebook_containers.linux import cgroups
from notebook_containers.linux.cgroups import oom
from notebook_containers.runtime import document
from notebook_containers.runtime.document import Table

_UNUSABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENODEV)


class Limits:
    """The cgroup at ``path`` (relative to the parent of all containers); ``warnings`` says in words what could not be enforced.

    With ``lent_parents`` the groups above it are a foreign caller's and are left as they are; ``everywhere``: in every hierarchy.
    """

    __slots__ = ("_cgroup", "_everywhere", "_lent_parents", "_oom_seen", "_resources", "locations", "path", "warnings")

    def __init__(self, path: str, resources: Table, *, lent_parents: bool = False, everywhere: bool = False) -> None:
        self._lent_parents, self._everywhere = lent_parents, everywhere
        self.path = path
        self.locations: dict[str, str] = {}
        self.warnings: list[str] = []
        self._resources = resources
        self._cgroup: cgroups.Cgroup | None = None
        self._oom_seen = 0

    def take_over(self, made: Limits) -> bool:
        """Become ``made``, which is another's no more, if that is the same cgroup with the same limits; tell whether it is."""
        if not made.locations or (self.path, self._resources) != (made.path, made._resources):
            return False
        self._cgroup, self.locations, self.warnings = made._cgroup, made.locations, made.warnings
        return True

    def open(self) -> None:
        """Reach the cgroup at ``path`` as this process sees it; nothing is made. ValueError for a path that leads elsewhere."""
        if self.path:
            self._cgroup = cgroups.open_cgroup(self.path, lent_parents=self._lent_parents, everywhere=self._everywhere)

    def create(self) -> None:
        """Make the cgroup and set its limits, unless it is made; where cgroups cannot be used at all, a warning is left instead."""
        if self.locations:
            return
        try:
            self.open()
            if self._cgroup is None:
                return
            self._cgroup.create()
        except OSError as err:
            if err.errno not in _UNUSABLE:
                raise
            self.warnings.append(f"limits are not enforced: no cgroup can be made here ({err.strerror})")
            self._cgroup, self.path = None, ""
        else:
            self._set(self._cgroup)

    def _set(self, cgroup: cgroups.Cgroup) -> None:
        """Set the limits; a value that the kernel refuses (a disk that is not there) is the caller's error, a missing right a warning."""
        try:
            self.warnings += cgroup.apply(self._resources)
        except PermissionError as err:
            self.warnings.append(f"limits are not enforced: {err.filename}: {err.strerror}")
        self.locations = cgroup.locations()

    def change(self, resources: Table) -> list[str]:
        """Set other limits; returns in words what cannot be enforced."""
        if self._cgroup is None:
            return ["limits are not enforced: the container has no cgroup"]
        return self._cgroup.apply(resources)

    def reopen(self) -> None:
        """Reach the cgroup that another process made at ``locations``."""
        self._cgroup = cgroups.restore_cgroup(self.path, self.locations, lent_parents=self._lent_parents)

    def enter(self) -> None:
        """Put the calling process in."""
        if self._cgroup is not None:
            self._cgroup.enter()

    def entrances(self) -> list[int]:
        """Return descriptors, which the caller closes: who writes ``0`` to each puts itself in, whatever files it sees."""
        return self._cgroup.entrances() if self._cgroup is not None else []

    def enter_unfrozen(self) -> None:
        """Put the calling process in but for what freezes; :meth:`add` does that later."""
        if self._cgroup is not None:
            self._cgroup.enter(freezer=False)

    def add(self, pid: int) -> None:
        """Put another process in."""
        if self._cgroup is not None:
            self._cgroup.add(pid)

    def can_freeze(self) -> bool:
        """Tell whether there is a group that can stand still."""
        return bool({"freezer", "unified"} & self.locations.keys())

    def lock_freezer(self) -> int:
        """Return a descriptor that keeps every other process from freezing and thawing until it is closed."""
        directory = self.locations.get("freezer") or self.locations["unified"]
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return fd

    def pids(self) -> list[int]:
        """Return the processes in it."""
        return self._cgroup.pids() if self._cgroup is not None else []

    def signal(self, number: int) -> None:
        """Signal every process in it."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def freeze(self, *, frozen: bool) -> None:
        """Stop or continue everything in it."""
        if self._cgroup is None:
            raise Unsupported("pausing needs a cgroup, and none can be made here")
        lock = self.lock_freezer() if self.can_freeze() else -1
        try:
            self.change_state(frozen=frozen)
        finally:
            if lock >= 0:
                os.close(lock)

    def change_state(self, *, frozen: bool) -> None:
        """As :meth:`freeze`, for who holds :meth:`lock_freezer`."""
        if self._cgroup is None:
            return
        try:
            if frozen:
                self._cgroup.freeze()
            else:
                self._cgroup.thaw()
        except OSError as err:
            if err.errno != errno.EOPNOTSUPP:
                raise
            raise Unsupported(f"pausing is not possible: {err.strerror}", hint="see 'nbc doctor'") from err

    def frozen(self) -> bool:
        """Tell whether it stands still, or is about to."""
        return self._cgroup is not None and self._cgroup.frozen()

    def update(self, resources: Table) -> list[str]:
        """Change limits; returns in words what cannot be enforced."""
        if self._cgroup is None:
            raise Unsupported("limits need a cgroup, and the container has none")
        return self._cgroup.apply(resources)

    def oom_killed(self) -> bool:
        """Tell whether the kernel killed something in it for its memory limit since this was last asked."""
        if self._cgroup is None:
            return False
        seen, self._oom_seen = self._oom_seen, self._cgroup.oom_kills()
        return self._oom_seen > seen

    def oom_kills(self) -> int:
        """Return how many processes in it the kernel has killed for want of memory."""
        return self._cgroup.oom_kills() if self._cgroup is not None else 0

    def memory(self) -> Table:
        """Return the most memory that was used (``memoryPeak``) and the limit (``memoryLimit``) in bytes; what is not known is absent."""
        found = self._cgroup.stats() if self._cgroup is not None else {}
        names = (("memoryPeak", "memory_peak_bytes"), ("memoryLimit", "memory_limit_bytes"))
        return {ours: found[theirs] for ours, theirs in names if theirs in found}

    def watch_memory(self) -> int:
        """Return a descriptor that becomes readable when memory has run out in it, or -1; the caller closes it."""
        limited = bool(document.table(self._resources, "memory").get("limit"))
        return oom.watch(self.locations) if limited and self._cgroup is not None else -1

    def kill(self, *, timeout_s: float = 10.0) -> None:
        """Kill everything that is left in it; TimeoutError names what the kernel does not let end in that time."""
        if self._cgroup is not None:
            self._cgroup.kill(timeout_s=timeout_s)

    def remove(self) -> str:
        """Remove the cgroup; returns a warning when it could not be."""
        if self._cgroup is None:
            return ""
        try:
            self._cgroup.remove()
        except OSError as err:
            return f"cgroup {self.path} is left behind: {err.strerror}"
        self._cgroup = None
        return ""


def restore(state: Table) -> Limits:
    """Return the cgroup that a state.json names, as its monitor made it."""
    limits = Limits(document.text(state, "cgroup"), {}, lent_parents=document.flag(state, "cgroupLentParents"))
    locations = document.table(state, "cgroupLocations")
    limits.locations = {key: document.text(locations, key) for key in locations}
    if limits.path and limits.locations:
        limits.reopen()
    return limits

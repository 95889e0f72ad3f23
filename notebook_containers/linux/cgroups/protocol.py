"""The one Protocol that every cgroup version keeps; for type checkers only, nothing imports it at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class Cgroup(Protocol):
    """A container's cgroup; controllers that this process cannot use are left out, and :meth:`apply` says so.

    Failures are OSErrors that name the file. Every method may be called by another process than the one that made the group.
    """

    def locations(self) -> dict[str, str]:
        """Return key → directory, JSON-able, for :func:`restore_cgroup`; empty when no group can be made at all."""

    def create(self) -> None:
        """Make the group and its parents; idempotent, and safe against another process that removes the parents at this moment."""

    def add(self, pid: int) -> None:
        """Move the process ``pid`` with all its threads into the group. Can wait 5 to 35 ms for the kernel: prefer :meth:`enter`."""

    def enter(self, *, freezer: bool = True) -> None:
        """Move the calling process, which must have one thread only, into the group; call it before a new cgroup namespace is made.

        With ``freezer=False`` only where the group cannot freeze it (in version 2 nowhere): :meth:`add` does the rest later.
        """

    def entrances(self) -> list[int]:
        """Return descriptors, which the caller closes: who writes ``0`` to each of them moves itself as :meth:`enter` does.

        It may be in a mount namespace that does not show the group.
        """

    def clone_descriptor(self) -> int | None:
        """Return a descriptor for clone3(2) with CLONE_INTO_CGROUP, which the caller closes; None where that cannot be used."""

    def apply(self, resources: Mapping[str, object]) -> list[str]:
        """Set the limits of an OCI ``linux.resources`` object; return a sentence for each that is not enforced, and why.

        May be called again to change limits. A value that the kernel refuses is an OSError with the file's name.
        """

    def pids(self) -> list[int]:
        """Return the processes in the group and in groups below it, sorted; empty when there is no group."""

    def kill(self, *, timeout_s: float = 10.0) -> None:
        """Kill every process, also of a frozen group, and wait until none is left; TimeoutError names those that do not die."""

    def freeze(self, *, timeout_s: float = 5.0) -> None:
        """Stop every process and wait until they stand still; TimeoutError (and all go on) when one does not."""

    def thaw(self) -> None:
        """Let every process go on; idempotent, nothing when there is no group."""

    def thawing(self) -> Callable[[], None]:
        """Return what does once what :meth:`thaw` does, and needs nothing more for it; the caller calls it."""

    def frozen(self) -> bool:
        """Tell whether :meth:`freeze` was asked for, by whomever, and not undone; False when there is no group."""

    def stats(self) -> dict[str, int]:
        """Return what was used; keys that cannot be known (and limits that are not set) are absent.

        ``memory_usage_bytes memory_limit_bytes memory_peak_bytes memory_cache_bytes cpu_usage_ns cpu_user_ns cpu_system_ns
        cpu_periods cpu_throttled_periods cpu_throttled_ns pids_current pids_limit io_read_bytes io_write_bytes``
        """

    def oom_kills(self) -> int:
        """Return how many processes of the group the kernel has killed for want of memory; read it before :meth:`remove`."""

    def remove(self, *, timeout_s: float = 5.0) -> None:
        """Remove the group, groups below it, and parents left empty; idempotent.

        TimeoutError names the processes that still hold it.
        """

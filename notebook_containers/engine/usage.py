"""What a container uses and may use, and what it runs: ``stats``, ``top``, ``update``; a base of :class:`~.container.Container`.

What does the work is imported where it is used: running a container, where milliseconds count, needs none of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, overload

from notebook_containers.engine import actors, launch
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import Conflict
from notebook_containers.oci.documents import JSON

if TYPE_CHECKING:
    from notebook_containers.engine.processes import ProcessRow

Table = dict[str, JSON]


class Usage(ABC):
    """Limits, measurements and processes of one container."""

    id: str
    name: str
    document: ContainerDocument
    _parts: Parts

    @overload
    def stats(self, *, stream: Literal[False], one_shot: bool = ...) -> Table: ...

    @overload
    def stats(self, *, stream: Literal[True] = ..., one_shot: bool = ...) -> Iterator[Table]: ...

    def stats(self, *, stream: bool = True, one_shot: bool = False) -> Table | Iterator[Table]:
        """Return what it uses, in docker-py's shape: a sample each second until it ends, or with ``stream=False`` one.

        One sample takes half a second, in which the processors are measured; with ``one_shot`` it does not, and ``precpu_stats`` is
        empty. A container that does not run has a sample of zeros.
        """
        from notebook_containers.engine import stats

        if stream:
            return stats.stream(self._parts, self.id, self.name)
        return stats.once(self._parts, self.id, self.name, one_shot=one_shot)

    def sample(self, before: Mapping[str, JSON] | None = None) -> Table:
        """Return one sample now, compared with the sample ``before`` when that is given; the shape is :meth:`stats`'."""
        from notebook_containers.engine import stats

        return stats.sample(self._parts, self.id, self.name, before=before)

    def usage(self, sample: Mapping[str, JSON] | None = None) -> dict[str, object]:
        """Return Docker's table of a sample (one is taken when none is given) as numbers: per cent of one processor, bytes, processes."""
        from notebook_containers.engine import stats

        return stats.row(self.stats(stream=False) if sample is None else sample)

    def top(self, *, ps_args: str | None = None) -> Table:
        """Return its processes as ps(1) lists them: ``{"Titles": [...], "Processes": [[...], ...]}``; Conflict when it does not run.

        Of ps's options ``-ef``, ``aux`` and ``-o COLUMNS`` are understood. Pids and users are this machine's.
        """
        from notebook_containers.engine import processes

        keys = processes.titles(ps_args)
        titles, rows = processes.table(self.processes(), keys)
        return {"Titles": [*titles], "Processes": [[*row] for row in rows]}

    def processes(self) -> list[ProcessRow]:
        """Return its processes; Conflict when it does not run."""
        from notebook_containers.engine import processes

        self._running("look into")
        found = processes.read(self._parts.runtime.pids(self.id))
        actors.tell(self._parts, self.id, "top")
        return found

    def update(
        self,
        *,
        blkio_weight: int | None = None,
        cpu_period: int | None = None,
        cpu_quota: int | None = None,
        cpu_rt_period: int | None = None,
        cpu_rt_runtime: int | None = None,
        cpu_shares: int | None = None,
        cpuset_cpus: str | None = None,
        cpuset_mems: str | None = None,
        mem_limit: str | int | None = None,
        mem_reservation: str | int | None = None,
        memswap_limit: str | int | None = None,
        nano_cpus: int | None = None,
        pids_limit: int | None = None,
        restart_policy: Mapping[str, object] | None = None,
        ports: Mapping[str | int, object] | Sequence[str] | None = None,
        unpublish: Sequence[str] = (),
    ) -> Table:
        """Change limits, restart policy and published ports, at once when it runs, and for its next starts; ``{"Warnings": [...]}``.

        A value that the kernel refuses (memory below what is used) is InvalidArgument, and nothing is changed. ``ports`` are published
        besides those that are; ``unpublish`` names ports to take back ("80", "53/udp", "8080:80"). Conflict for one that is in use.
        """
        from notebook_containers.engine import publishing, update, words

        with self._parts.container_lock(self.id):
            self.reload()
            if ports or unpublish:
                state = launch.state(self._parts, self.id)
                self.document = publishing.change(self._parts, self.document, state, more=words.ports(ports), fewer=unpublish)
            options = update.changed_options(
                self.document.options,
                blkio_weight=blkio_weight,
                cpu_period=cpu_period,
                cpu_quota=cpu_quota,
                cpu_rt_period=cpu_rt_period,
                cpu_rt_runtime=cpu_rt_runtime,
                cpu_shares=cpu_shares,
                cpuset_cpus=cpuset_cpus,
                cpuset_mems=cpuset_mems,
                mem_limit=mem_limit,
                mem_reservation=mem_reservation,
                memswap_limit=memswap_limit,
                nano_cpus=nano_cpus,
                pids_limit=pids_limit,
                restart_policy=restart_policy,
            )
            self.document, warnings = update.update(self._parts, self.document, options)
        actors.tell(self._parts, self.id, "update")
        return {"Warnings": [*warnings]}

    @abstractmethod
    def reload(self) -> None:
        """Look again; given by the container."""

    def _running(self, verb: str) -> None:
        raise Conflict(f"cannot {verb} {self.name}")

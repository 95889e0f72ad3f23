"""What containers' descriptions need to know of the machine and of the caller; a value, looked up once."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.engine import user_ranges
from notebook_containers.lean import dataclass, field
from notebook_containers.linux.idmaps import IdMaps, keep_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the Spec needs to know of the machine and of the caller."""

    euid: int
    egid: int
    memory_bytes: int
    capabilities: tuple[str, ...]
    ids: IdMaps | None = None
    hostname: str = "localhost"
    oom_score_adj: int = 0
    cgroup_v1: bool = False
    """Whether there are cgroup hierarchies of version 1, alone or beside version 2."""

    ulimits: Mapping[str, int] = field(default_factory=dict)
    """Highest hard limits that may be given, by type; without limit when absent."""

    @property
    def rootless(self) -> bool:
        """Whether the caller is an ordinary user."""
        return self.euid != 0

    @property
    def maps(self) -> IdMaps | None:
        """The ids an ordinary user's containers have (its own one alone unless ``ids`` says more), None for root: all there are."""
        own = IdMaps(uids=((0, self.euid, 1),), gids=((0, self.egid, 1),))
        return (self.ids or own) if self.rootless else None

    @property
    def single(self) -> bool:
        """Whether only one user id exists inside."""
        return self.maps is not None and self.maps.single

    def container_maps(self, userns: str, *, first_id: int = 0) -> IdMaps | None:
        """Return the ids of a container with ``--userns userns``, to which those from ``first_id`` on were given, if any."""
        if first_id:
            lines = ((0, first_id, user_ranges.SIZE),)
            return IdMaps(uids=lines, gids=lines)
        kept = self.kept_ids(userns)
        return keep_id(self.maps, *kept) if self.maps and kept else self.maps

    def kept_ids(self, userns: str) -> tuple[int, int] | None:
        """Return which user and group an ordinary caller is inside, with ``keep-id[:uid=N][,gid=N]``; None without that word."""
        word, _, rest = userns.partition(":")
        if word != "keep-id" or not self.rootless:
            return None
        given = dict(pair.split("=", 1) for pair in rest.split(",") if pair)
        return int(given.get("uid", self.euid)), int(given.get("gid", self.egid))

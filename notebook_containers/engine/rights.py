"""What the options of a container give it in its networks beyond what every container has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from notebook_containers.engine import words
from notebook_containers.engine.specgen import capability_set
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.engine.host import Host
    from notebook_containers.engine.options import ContainerOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a container may do in its networks beyond others: reach services of this machine; ``may_forge`` packets, and is walled in."""

    reaches_host: bool = False
    may_forge: bool = False

    @classmethod
    def of(cls, options: ContainerOptions, host: Host) -> Self:
        """Return what the caller's options give."""
        capabilities = capability_set(options, host)
        return cls(
            reaches_host=words.wants_host(options.extra_hosts),
            may_forge="CAP_NET_RAW" in capabilities or "CAP_NET_ADMIN" in capabilities,
        )


NO_RIGHTS = Rights()

"""Docker's restart policies: whether a container lives again, and how long it waits before (moby, restartmanager.go)."""

from __future__ import annotations

from notebook_containers.runtime import document
from notebook_containers.runtime.document import Table

FIRST_S, MOST_S, GOOD_RUN_S = 0.1, 60.0, 10.0


class Restarts:
    """One container's restarts: 0.1 s before the first, twice as long each time up to a minute, 0.1 s again after a run of 10 s."""

    __slots__ = ("_wait", "count")

    def __init__(self) -> None:
        self._wait = 0.0
        self.count = 0

    def wanted(self, options: Table, code: int) -> bool:
        """Tell whether the policy in the bundle's ``options`` wants another life after this exit code."""
        policy, most = document.text(options, "restart", "no"), document.number(options, "restartMax")
        if policy in ("always", "unless-stopped"):
            return True
        return policy == "on-failure" and code != 0 and (most <= 0 or self.count < most)

    def next(self, ran_s: float) -> float:
        """Count one restart and return how long to wait before it; ``ran_s`` is how long the last life was."""
        self._wait = FIRST_S if ran_s >= GOOD_RUN_S or not self._wait else min(MOST_S, self._wait * 2)
        self.count += 1
        return self._wait

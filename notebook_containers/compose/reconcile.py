"""What must happen to the containers of one service so that they are what the file says: a pure function of both.

The numbers of a service's containers are 1, 2, …; one whose configuration is the wanted one stays, whatever else changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from notebook_containers.lean import dataclass

Policy: TypeAlias = Literal["changed", "always", "never"]
"""When a container that is there is made anew: when its configuration changed, always, never."""

_LIVE = ("running", "paused", "restarting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A container that is there; ``status`` is the engine's word, ``id`` names it."""

    id: str
    number: int
    config_hash: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do: keep, start, unpause, recreate or remove the container ``id``, or create one of this number."""

    what: Literal["keep", "start", "unpause", "recreate", "remove", "create"]
    number: int
    id: str = ""


def steps(seen: Sequence[Seen], *, config_hash: str, count: int, policy: Policy = "changed") -> tuple[Step, ...]:
    """Return what to do, removals first, then by number.

    When there are too many, those of an older configuration go first, then those that do not run, then the highest numbers. Two of one
    number are what an ``up`` left that was killed between making a container and removing the one before: the older configuration goes.
    """

    def wanted(one: Seen) -> bool:
        return policy == "never" or one.config_hash == config_hash

    ranked = sorted(seen, key=lambda one: (not wanted(one), one.status not in _LIVE, one.number, one.id))
    kept: dict[int, Seen] = {}
    removed: list[Seen] = []
    for one in ranked:
        if len(kept) < count and one.number > 0 and one.number not in kept:
            kept[one.number] = one
        else:
            removed.append(one)
    done = [Step(what="remove", number=one.number, id=one.id) for one in sorted(removed, key=lambda one: (-one.number, one.id))]
    free = (number for number in range(1, count + len(kept) + 1) if number not in kept)
    made = [Step(what="create", number=next(free)) for _ in range(count - len(kept))]
    stay = [Step(what=_fate(one, changed=policy == "always" or not wanted(one)), number=one.number, id=one.id) for one in kept.values()]
    return (*done, *sorted([*stay, *made], key=lambda step: step.number))


def _fate(one: Seen, *, changed: bool) -> Literal["keep", "start", "unpause", "recreate"]:
    if changed:
        return "recreate"
    if one.status == "paused":
        return "unpause"
    return "keep" if one.status in _LIVE else "start"

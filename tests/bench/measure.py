"""Interleaved timing: every contender takes its turn in every round, so that whatever else the machine does hits all alike."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


class Unavailable(Exception):
    """A contender that cannot take part here; the text says why and becomes its printed row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a row must reach: ``ratio`` is peer / ours at least, ``limit`` our own value at most; ``text`` as a reader writes it."""

    text: str
    ratio: float | None = None
    limit: float | None = None

    def met(self, ours: float, theirs: float | None) -> bool | None:
        """Say whether it is reached; None when the peer's value is needed and missing."""
        if self.ratio is not None and theirs is None:
            return None
        fast = self.ratio is None or (theirs is not None and theirs / ours >= self.ratio)
        return fast and (self.limit is None or ours <= self.limit)


NO_TARGET = Target(text="-")


def faster(times: float) -> Target:
    """Ours takes at most one ``times``-th of the peer's time."""
    return Target(text=f"≥ {times:g}x faster", ratio=times)


def within(times: float) -> Target:
    """Ours takes at most ``times`` times as long as the peer."""
    return Target(text=f"≤ {times:g}x its time", ratio=1 / times)


def at_most(limit: float, unit: str = "ms") -> Target:
    """Ours is at most ``limit``, whatever the peer needs."""
    return Target(text=f"≤ {limit:g} {unit}", limit=limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One that does the work: ``act`` is timed, ``reset`` makes the next round possible and is not."""

    act: Callable[[], object]
    reset: Callable[[], object] = lambda: None
    target: Target = NO_TARGET


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the result: medians in ``unit``; ``missing`` says why there is no peer value."""

    work: str
    ours: float | None
    peer: str
    theirs: float | None = None
    missing: str = ""
    target: Target = NO_TARGET
    unit: str = "ms"
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    @property
    def ratio(self) -> float | None:
        """Peer / ours."""
        return self.theirs / self.ours if self.ours and self.theirs is not None else None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None when that cannot be said."""
        return None if self.ours is None or self.target == NO_TARGET else self.target.met(self.ours, self.theirs)


LEAST_ROUNDS, MOST_S = 5, 60.0
"""A row ends after a minute, when it has five rounds by then: what is slow is told by its median sooner."""


def contest(work: str, ours: Contender, peers: Mapping[str, Contender], *, repeat: int) -> list[Row]:
    """Time everybody ``repeat`` times, or fewer where that takes long, after one round that does not count; one row per peer."""
    contenders = {"": ours, **peers}
    missing: dict[str, str] = {}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    began = time.monotonic()
    for turn in range(repeat + 1):
        if turn > LEAST_ROUNDS and time.monotonic() - began > MOST_S:
            break
        for name in _order(list(contenders), turn):
            if name in missing:
                continue
            try:
                seconds = _timed(contenders[name])
            except Unavailable as err:
                if not name:
                    raise
                missing[name] = str(err)
                continue
            if turn:
                samples[name].append(seconds * 1000)
    medians = {name: statistics.median(values) for name, values in samples.items() if values and name not in missing}
    rows = [
        Row(work=work, ours=medians[""], peer=name, theirs=medians.get(name), missing=missing.get(name, ""), target=peer.target)
        for name, peer in peers.items()
    ]
    if ours.target != NO_TARGET:
        rows.append(Row(work=work, ours=medians[""], peer="", target=ours.target))
    return rows


def _timed(contender: Contender) -> float:
    start = time.perf_counter()
    contender.act()
    seconds = time.perf_counter() - start
    contender.reset()
    return seconds


def _order(names: Sequence[str], turn: int) -> Sequence[str]:
    """Return the names turned by one place a round: nobody always follows the same neighbour."""
    place = turn % len(names)
    return [*names[place:], *names[:place]]

"""Which system calls a seccomp profile (the OCI runtime's JSON form) does not let through, by name; pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from notebook_containers.linux.seccomp_numbers import numbers

_KILLS = ("SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP")
_ERROR = "SCMP_ACT_ERRNO"


def killed_for(profile: Mapping[str, object]) -> Sequence[str]:
    """Return the calls that have a rule to kill for them."""
    return [name for rule in _rules(profile) if rule.get("action") in _KILLS for name in _names(rule)]


def refused(profile: Mapping[str, object], *, machine: str = "") -> frozenset[str]:
    """Return the calls that are answered with an error whatever their arguments are; the machine's own table unless one is named."""
    rules = list(_rules(profile))
    refusing = {name for rule in rules if rule.get("action") == _ERROR and not rule.get("args") for name in _names(rule)}
    others = {name for rule in rules if rule.get("action") != _ERROR for name in _names(rule)}
    rest = _known(machine or os.uname().machine) if profile.get("defaultAction") == _ERROR else set()
    return frozenset((rest | refusing) - others)


def _known(machine: str) -> set[str]:
    try:
        return set(numbers(machine))
    except KeyError:  # nothing is named for a machine without a table
        return set()


def _rules(profile: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    rules = profile.get("syscalls")
    yield from (rule for rule in rules if isinstance(rule, dict)) if isinstance(rules, (list, tuple)) else ()


def _names(rule: Mapping[str, object]) -> list[str]:
    names = rule.get("names")
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else []

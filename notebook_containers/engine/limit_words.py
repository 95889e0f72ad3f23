"""Words about limits: resource limits of processes, kernel settings, cgroup parents, scores and lists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from notebook_containers.errors import InvalidArgument
from notebook_containers.linux import sysctls as settings
from notebook_containers.oci.runtime import Rlimit

ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending",
    "stack",
)  # fmt: skip
_ULIMIT = re.compile(r"([a-z]+)=(-1|[0-9]{1,20})(?::(-1|[0-9]{1,20}))?\Z", re.ASCII)
_PARENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z", re.ASCII)
_CPU_LEAST_US, _CPU_MOST_US = 1000, 1_000_000  # min_cfs_quota_period, max_cfs_quota_period of kernel/sched/core.c
_UNLIMITED = 2**64 - 1


def check_memory(limit: int, reservation: int, swap: int) -> None:
    """Raise InvalidArgument for bytes of memory that contradict each other (0: not given, -1: without limit), as Docker does."""
    if swap > 0 and not limit:
        raise InvalidArgument("--memory-swap needs --memory", hint="it is memory and swap together: -m 64m --memory-swap 128m")
    if 0 < swap < limit:
        raise InvalidArgument(
            f"the memory limit {limit} is more than memory and swap together, {swap}",
            hint="give more with --memory-swap (-1: without limit), or less with -m",
        )
    if 0 < limit < reservation:
        raise InvalidArgument(
            f"the memory reservation {reservation} is more than the memory limit {limit}", hint="reserve less, or give more with -m"
        )


def check_cpu(period: int, quota: int) -> None:
    """Raise InvalidArgument for microseconds that the kernel's scheduler does not take (0: not given; a quota of -1: without limit)."""
    if period and not _CPU_LEAST_US <= period <= _CPU_MOST_US:
        raise InvalidArgument(f"--cpu-period {period} is out of range", hint=f"{_CPU_LEAST_US} to {_CPU_MOST_US} microseconds are possible")
    if 0 < quota < _CPU_LEAST_US:
        raise InvalidArgument(
            f"--cpu-quota {quota} is out of range", hint=f"{_CPU_LEAST_US} microseconds are the least, -1 is without limit"
        )


def ulimits(given: Sequence[str | Mapping[str, object]] | None) -> tuple[Rlimit, ...]:
    """Return docker-py's ``ulimits`` (``{"Name", "Soft", "Hard"}``) or Docker's ``name=soft[:hard]``; -1 is without limit.

    A name that is given twice counts once, as it was given last.
    """
    found = [_ulimit(entry) for entry in given or ()]
    return tuple({limit.type: limit for limit in found}.values())


def _ulimit(entry: str | Mapping[str, object]) -> Rlimit:
    text = _ulimit_text(entry) if isinstance(entry, Mapping) else entry
    match = _ULIMIT.match(text)
    if match is None:
        raise InvalidArgument(f"--ulimit {text!r} is not understood", hint="write NAME=SOFT[:HARD], as nofile=1024:2048")
    name, soft, hard = match[1], int(match[2]), int(match[3] if match[3] is not None else match[2])
    if name not in ULIMITS:
        raise InvalidArgument(f"--ulimit {name!r} is unknown", hint="known: " + ", ".join(ULIMITS))
    limit = Rlimit(type=f"RLIMIT_{name.upper()}", soft=_number(soft), hard=_number(hard))
    if limit.soft > limit.hard:
        raise InvalidArgument(f"--ulimit {text!r}: the soft limit is above the hard one", hint="write NAME=SOFT:HARD")
    return limit


def _ulimit_text(entry: Mapping[str, object]) -> str:
    soft, hard = entry.get("Soft", entry.get("soft")), entry.get("Hard", entry.get("hard"))
    soft = hard if soft is None else soft
    return f"{entry.get('Name', entry.get('name'))}={soft}" + ("" if hard is None else f":{hard}")


def _number(value: int) -> int:
    return _UNLIMITED if value < 0 or value > _UNLIMITED else value


def check_ulimits(wanted: Sequence[Rlimit], allowed: Mapping[str, int]) -> None:
    """Raise InvalidArgument for a hard limit above what this caller may set; ``allowed`` is type → highest, without limit when absent."""
    for limit in wanted:
        most = allowed.get(limit.type)
        if most is not None and limit.hard > most:
            name = limit.type.removeprefix("RLIMIT_").lower()
            raise InvalidArgument(f"--ulimit {name}: {_shown(limit.hard)} is more than the {most} allowed here", hint=f"use {name}={most}")


def _shown(value: int) -> str:
    return "unlimited" if value == _UNLIMITED else str(value)


def highest_ulimits(*, may_raise: bool) -> dict[str, int]:
    """Return the highest hard limits this process may give, by type; those without limit are left out (setrlimit(2)).

    ``may_raise``: it has CAP_SYS_RESOURCE, so its own hard limits do not bind it.
    """
    import resource

    found = {}
    try:
        with open("/proc/sys/fs/nr_open", encoding="ascii") as file:
            found["RLIMIT_NOFILE"] = int(file.read())
    except OSError:
        pass
    if not may_raise:
        for name in ULIMITS:
            hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}", 10))[1]
            if hard != resource.RLIM_INFINITY:
                found[f"RLIMIT_{name.upper()}"] = hard
    return found


def sysctls(given: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Return kernel settings, name to value; only those that belong to a namespace can be set for one container (CVE-2022-0811)."""
    pairs = given.items() if isinstance(given, Mapping) else [_pair(word) for word in given or ()]
    found = {}
    for name, value in pairs:
        key, text = str(name), str(value)
        if not settings.namespace(settings.path(key)):
            raise InvalidArgument(
                f"--sysctl {key!r} cannot be set for one container",
                hint="possible: net.* (own network), kernel.msg*, kernel.sem, kernel.shm* and fs.mqueue.* (own IPC), kernel.domainname",
            )
        if not text or any(not ch.isprintable() and ch != "\t" for ch in text):
            raise InvalidArgument(f"--sysctl {key}={text!r} has no value that can be written")
        found[key] = text
    return found


def _pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise InvalidArgument(f"--sysctl {word!r} is not understood", hint="write NAME=VALUE")
    return name, value


def check_sysctls(wanted: Mapping[str, str], modes: Mapping[str, str]) -> None:
    """Raise InvalidArgument for a setting of a namespace that is not the container's own; ``modes`` is kind → its mode, as host."""
    for name in wanted:
        kind = settings.namespace(settings.path(name))
        mode = modes.get(kind, "")
        if mode == "host" or mode.startswith("container:"):
            raise InvalidArgument(
                f"--sysctl {name} cannot be set with --{kind} {mode.partition(':')[0]}: it would change the settings of others"
            )


def check_cpus(text: str, count: int) -> None:
    """Raise InvalidArgument when a list of CPUs (``0-1,3``) names one that a machine with ``count`` of them has not."""
    highest = max((int(word) for part in text.split(",") for word in part.split("-") if word), default=0)
    if highest >= count:
        raise InvalidArgument(f"--cpuset-cpus {text}: there is no CPU {highest}", hint=f"this machine has CPUs 0-{count - 1}")


def cgroup_parent(word: str | None) -> str:
    """Return the group that the container's is made in: one or more names, always below the group of all containers."""
    if not word:
        return ""
    if not all(_PARENT.match(part) for part in word.split("/")):
        raise InvalidArgument(
            f"--cgroup-parent {word!r} cannot be used", hint="write a name, as students or course/students: it lies below ours"
        )
    return word


def swappiness(value: int | None) -> int | None:
    """Return the swappiness, 0 to 100; None (or Docker's -1) leaves the machine's."""
    if value is None or value == -1:
        return None
    if not 0 <= value <= 100:
        raise InvalidArgument(f"--memory-swappiness {value} is out of range", hint="0 to 100 are possible")
    return value


def oom_score(value: int | None) -> int | None:
    """Return the score that is added when the kernel looks for something to kill, -1000 to 1000."""
    if value is not None and not -1000 <= value <= 1000:
        raise InvalidArgument(f"--oom-score-adj {value} is out of range", hint="-1000 (never) to 1000 (first) are possible")
    return value or None


def annotation_map(given: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Return annotations, which the Spec carries and nothing here acts upon."""
    pairs = given.items() if isinstance(given, Mapping) else [word.partition("=")[::2] for word in given or ()]
    found = {str(name): str(value) for name, value in pairs}
    for name in found:
        if not name:
            raise InvalidArgument("--annotation has no name", hint="write NAME=VALUE")
    return found

"""How the kernel schedules a process of a foreign bundle: CPU policy, I/O priority, execution domain (config.md, config-linux.md).

Standard library only, and imported before the container's root is entered.
"""

from __future__ import annotations

from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.linux import syscalls
from notebook_containers.runtime import document
from notebook_containers.runtime.document import Table

MEMBERS = ("scheduler", "ioPriority")
"""The members of the process object; a further process has the container's where it says nothing."""

POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
}  # fmt: skip
_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 1,
    "SCHED_FLAG_RECLAIM": 2,
    "SCHED_FLAG_DL_OVERRUN": 4,
    "SCHED_FLAG_KEEP_POLICY": 8,
    "SCHED_FLAG_KEEP_PARAMS": 16,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 32,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}
_REAL_TIME = ("SCHED_FIFO", "SCHED_RR")
_TIMES = ("runtime", "deadline", "period")
_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_DOMAINS = {"LINUX": 0, "LINUX32": 8}


def check(process: Table) -> None:
    """InvalidArgument for a scheduler or an I/O priority that cannot be meant."""
    if scheduler := document.table(process, "scheduler"):
        _check_scheduler(scheduler)
    if wanted := document.table(process, "ioPriority"):
        _known(document.text(wanted, "class"), _CLASSES, "process.ioPriority.class")
        _between(document.number(wanted, "priority"), 0, 7, "process.ioPriority.priority")


def _check_scheduler(wanted: Table) -> None:
    policy = document.text(wanted, "policy")
    _known(policy, POLICIES, "process.scheduler.policy")
    if policy == "SCHED_ISO":
        raise Unsupported("process.scheduler.policy SCHED_ISO is not supported: no Linux kernel has it", hint="use SCHED_RR or SCHED_FIFO")
    _between(document.number(wanted, "nice"), -20, 19, "process.scheduler.nice")
    for word in document.texts(wanted, "flags"):
        _known(word, _FLAGS, "process.scheduler.flags")
    if policy not in _REAL_TIME and document.number(wanted, "priority"):
        raise InvalidArgument(f"process.scheduler.priority is for {' and '.join(_REAL_TIME)}, not for {policy}")
    for name in _TIMES:
        if policy != "SCHED_DEADLINE" and document.number(wanted, name):
            raise InvalidArgument(f"process.scheduler.{name} is for SCHED_DEADLINE, not for {policy}")


def _known(word: str, words: dict[str, int], what: str) -> None:
    if word not in words:
        raise InvalidArgument(f"{what} {word!r} does not exist", hint=f"known are {', '.join(words)}")


def _between(value: int, least: int, most: int, what: str) -> None:
    if not least <= value <= most:
        raise InvalidArgument(f"{what} is {value}, it must be from {least} to {most}")


def apply(process: Table) -> None:
    """Take the process's CPU policy and I/O priority, where it asks for one; OSError names the member that the kernel refuses."""
    if wanted := document.table(process, "scheduler"):
        flags = sum(_FLAGS[word] for word in set(document.texts(wanted, "flags")))
        times = (document.number(wanted, "runtime"), document.number(wanted, "deadline"), document.number(wanted, "period"))
        nice, priority = document.number(wanted, "nice"), document.number(wanted, "priority")
        try:
            syscalls.sched_setattr(POLICIES[document.text(wanted, "policy")], flags, nice, priority, times)
        except OSError as err:
            raise OSError(err.errno, err.strerror, "process.scheduler") from err
    if wanted := document.table(process, "ioPriority"):
        try:
            syscalls.ioprio_set(_CLASSES[document.text(wanted, "class")], document.number(wanted, "priority"))
        except OSError as err:
            raise OSError(err.errno, err.strerror, "process.ioPriority") from err


def check_personality(linux: Table) -> None:
    """InvalidArgument for an execution domain that does not exist, Unsupported for flags (the specification knows none)."""
    if wanted := document.table(linux, "personality"):
        _known(document.text(wanted, "domain"), _DOMAINS, "linux.personality.domain")
        if document.texts(wanted, "flags"):
            raise Unsupported("linux.personality.flags is not supported", hint="leave it out of config.json")


def take_personality(linux: Table) -> None:
    """Take the container's execution domain, where it asks for one; children inherit it."""
    if wanted := document.table(linux, "personality"):
        syscalls.personality(_DOMAINS[document.text(wanted, "domain")])

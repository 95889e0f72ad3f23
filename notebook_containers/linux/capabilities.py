"""Capability sets by name, and the order in which a process gives them up (capabilities(7)).

Standard library only: each container's init imports it. Failures are OSError.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from notebook_containers.linux import syscalls

NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)

_PR_CAPBSET_READ, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT_RAISE = 23, 8, 2


def mask(names: Iterable[str]) -> int:
    """Return the 64-bit set of ``names``; ValueError names one that does not exist."""
    result = 0
    for name in names:
        if name not in NAMES:
            raise ValueError(f"{name} is no capability")
        result |= 1 << NAMES.index(name)
    return result


def last() -> int:
    """Return the number of the last capability this kernel knows."""
    number = len(NAMES) - 1
    while number > 0:
        try:
            syscalls.prctl(_PR_CAPBSET_READ, number)
        except OSError:
            number -= 1
        else:
            return number
    return 0


def limit_bounding(bounding: int) -> None:
    """Drop from the bounding set, for ever, what is not in ``bounding``; needs CAP_SETPCAP, so it comes before the user id changes."""
    for number in range(last() + 1):
        if not bounding >> number & 1 and syscalls.prctl(_PR_CAPBSET_READ, number):
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)


def change_ids(uid: int, gid: int, groups: Iterable[int], *, may_set_groups: bool) -> None:
    """Become ``uid``:``gid`` with exactly ``groups``, keeping the permitted set so that :func:`set_sets` can choose from it.

    ``may_set_groups`` is False in a user namespace whose setgroups(2) is denied; there extra groups are an error, since the caller's
    cannot be taken away and others cannot be given.
    """
    if may_set_groups:
        os.setgroups(list(groups))
    syscalls.prctl(_PR_SET_KEEPCAPS, 1)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    syscalls.prctl(_PR_SET_KEEPCAPS, 0)


def set_sets(*, effective: int, permitted: int, inheritable: int, ambient: int) -> None:
    """Set the thread's sets; ambient is cleared and then raised to what permitted and inheritable both hold of it."""
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    known = (1 << last() + 1) - 1
    syscalls.capset(effective & known, permitted & known, inheritable & known)
    for number in range(last() + 1):
        if (ambient & permitted & inheritable) >> number & 1:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)

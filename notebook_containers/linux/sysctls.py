"""Which kernel settings belong to which namespace: only those may be set for one container (CVE-2022-0811)."""

from __future__ import annotations

_IPC = ("kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax", "kernel/shmmni")
_IPC_MORE = ("kernel/shm_rmid_forced", "kernel/auto_msgmni", "kernel/msg_next_id", "kernel/sem_next_id", "kernel/shm_next_id")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def path(key: str) -> str:
    """Return a setting's path below /proc/sys; as sysctl(8) the first separator decides: ``a.b/c`` has the part ``b.c`` below ``a``."""
    dot, slash = key.find("."), key.find("/")
    if slash < 0 or 0 <= dot < slash:
        return key.translate(str.maketrans("./", "/."))
    return key


def namespace(path: str) -> str:
    """Return the kind of namespace that a setting (its path) belongs to: network, ipc or uts; empty for the machine's own."""
    parts = path.split("/")
    plain = all(part and set(part) <= _LETTERS for part in parts)
    if parts[0] == "net" and len(parts) > 2:
        # the name of a link may hold a dot (eth0.5); no part may be one that leads elsewhere
        return "network" if all(part.strip(".") and set(part) <= _LETTERS | {"."} for part in parts) else ""
    if plain and (path in _IPC or path in _IPC_MORE or (path.startswith("fs/mqueue/") and len(parts) == 3)):
        return "ipc"
    return "uts" if path == "kernel/domainname" else ""

"""Being told that memory ran out in a cgroup, instead of asking: an eventfd on version 1, inotify on version 2.

Whoever is woken reads ``Cgroup.oom_kills()``: the descriptor also becomes readable when the group is removed.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def watch(locations: Mapping[str, str]) -> int:
    """Return a non-blocking descriptor for the group at ``locations`` (``Cgroup.locations()``), which the caller closes; -1 without one."""
    try:
        if "unified" in locations:
            return _version_2(f"{locations['unified']}/memory.events")
        return _version_1(locations["memory"]) if "memory" in locations else -1
    except OSError:
        return -1


def _version_1(directory: str) -> int:
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with open(f"{directory}/cgroup.event_control", "w", encoding="ascii") as file:
                file.write(f"{event} {control}")
        finally:
            os.close(control)
    except BaseException:
        os.close(event)
        raise
    return event


def _version_2(path: str) -> int:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    fd = int(library.inotify_init1(ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK)))
    if fd < 0 or library.inotify_add_watch(ctypes.c_int(fd), os.fsencode(path), ctypes.c_uint32(0x2)) < 0:
        number = ctypes.get_errno()
        if fd >= 0:
            os.close(fd)
        raise OSError(number, os.strerror(number), path)
    return fd

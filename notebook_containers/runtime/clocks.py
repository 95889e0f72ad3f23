"""A container's own clocks: ``linux.timeOffsets`` in a time namespace of its own (config-linux.md, time_namespaces(7)).

The offsets of a time namespace can be written between its making and the entering of its first process, no later.
"""

from __future__ import annotations

import os

from notebook_containers.errors import InvalidArgument
from notebook_containers.linux import syscalls
from notebook_containers.runtime import document
from notebook_containers.runtime.document import Table

_CLOCKS = ("monotonic", "boottime")
_SECOND_NS = 1_000_000_000


def offsets(linux: Table) -> Table:
    """Return clock → offset as the Spec says, empty when it says nothing."""
    return document.table(linux, "timeOffsets")


def check(linux: Table) -> None:
    """InvalidArgument for offsets of clocks that have none, and for offsets without a new time namespace."""
    wanted = offsets(linux)
    for name in wanted:
        if name not in _CLOCKS:
            raise InvalidArgument(f"linux.timeOffsets.{name} does not exist", hint=f"known are {' and '.join(_CLOCKS)}")
        if not 0 <= document.number(document.table(wanted, name), "nanosecs") < _SECOND_NS:
            raise InvalidArgument(f"linux.timeOffsets.{name}.nanosecs must be from 0 to {_SECOND_NS - 1}")
    own = any(entry.get("type") == "time" and not entry.get("path") for entry in document.tables(linux, "namespaces"))
    if wanted and not own:
        raise InvalidArgument("linux.timeOffsets is given, but no new time namespace", hint='add {"type": "time"} to linux.namespaces')


def set_offsets(wanted: Table) -> None:
    """Make a time namespace with these offsets and enter it; nothing when there are none. The caller has one thread."""
    if not wanted:
        return
    syscalls.unshare(syscalls.CLONE_NEWTIME)
    lines = ""
    for name in wanted:
        offset = document.table(wanted, name)
        lines += f"{name} {document.number(offset, 'secs')} {document.number(offset, 'nanosecs')}\n"
    fd = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, lines.encode())
    finally:
        os.close(fd)
    fd = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(fd, syscalls.CLONE_NEWTIME)  # else only its children would be in it
    finally:
        os.close(fd)

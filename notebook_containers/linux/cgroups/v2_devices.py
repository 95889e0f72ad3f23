"""Device rules of a version 2 group: a program that the kernel asks at each open and mknod (cgroup-v2.rst, "Device controller")."""

from __future__ import annotations

import errno
import os

from notebook_containers.linux import bpf
from notebook_containers.linux.cgroups import devices

_REFUSED = {
    errno.EPERM: "this user may not load device programs",
    errno.EACCES: "this user may not load device programs",
    errno.ENOSYS: "this kernel has no bpf call",
    errno.EINVAL: "this kernel has no device programs",
}


def apply(directory: str, rules: list[dict[str, object]]) -> list[str]:
    """Make ``rules`` the group's only ones; return a warning where that cannot be. ValueError for a rule that means nothing.

    The new program is attached before the old ones go: at no moment is a device allowed that neither of the two lists allows.
    """
    code = devices.program(rules)
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        old = bpf.attached(group, bpf.CGROUP_DEVICE_HOOK)
        if code:
            _attach(group, code)
        bpf.detach_ids(group, old, bpf.CGROUP_DEVICE_HOOK)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        why = _REFUSED[error.errno]
        return [f"the device list is not enforced: {why}; the nodes in /dev and CAP_MKNOD decide"] if code else []
    finally:
        os.close(group)
    return []


def _attach(group: int, code: bytes) -> None:
    """Load and attach one program; the group holds it from then on."""
    program = bpf.load(code, bpf.CGROUP_DEVICE_PROGRAM)
    try:
        bpf.attach(group, program, bpf.CGROUP_DEVICE_HOOK)
    finally:
        os.close(program)

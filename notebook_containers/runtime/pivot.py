"""Entering a root without pivot_root(2), for hosts whose root is a ramdisk (``--no-pivot``): the tree is moved over the old root.

The old root stays below, reachable by nobody without a descriptor of it; so that a container with CAP_SYS_ADMIN cannot mount a procfs or
sysfs of the host's again from there (mounts that are fully visible allow new ones), those are taken away first, as runc does.
"""

from __future__ import annotations

import errno
import os

from notebook_containers.linux import mounts, syscalls
from notebook_containers.runtime.rootfs import Tree


def move(tree: Tree) -> None:
    """Make the tree this process's root; failures are OSError."""
    os.fchdir(tree.root)
    own = os.getcwd()
    for place in _host_places(own):
        _take_away(place)
    syscalls.mount(".", "/", "", syscalls.MS_MOVE)
    os.chroot(".")
    os.chdir("/")
    for fd in {tree.root, tree.dev, tree.proc, tree.pts} - {-1}:
        os.close(fd)


def _host_places(own: str) -> list[str]:
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            place = fields.split(" ")[4]
            if rest.split(" ")[0] in ("proc", "sysfs") and not (place + "/").startswith(own + "/"):
                found.append(place)
    return sorted(found, reverse=True)


def _take_away(place: str) -> None:
    try:
        syscalls.umount2(place, syscalls.MNT_DETACH)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.EPERM):
            raise
        # locked by an outer user namespace: covered instead
        cover, target = mounts.create("tmpfs", "tmpfs", ["size=0k"]), os.open(place, os.O_PATH | os.O_CLOEXEC)
        mounts.attach(cover, target)
        os.close(cover)
        os.close(target)

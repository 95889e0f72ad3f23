"""A container's /sys/fs/cgroup: its own group of each hierarchy, and nothing of the others'."""

from __future__ import annotations

import errno
import os

from notebook_containers.linux import mounts

_READ_ONLY = mounts.Options(["ro"])


def mount(root: int, destination: str, words: list[str]) -> None:
    """Mount what the process sees of its cgroups below ``root``: the version 2 hierarchy, or those of version 1 side by side."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        groups = [tuple(line.rstrip("\n").split(":", 2)[1:]) for line in file]
    target = mounts.open_target(root, destination, directory=True, links=False)
    if [names for names, _own in groups] == [""]:
        top = _cgroup2(groups[0][1], words)
        mounts.attach(top, target)
    else:
        top = mounts.create("tmpfs", "cgroup", ["mode=755", "nosuid", "nodev", "noexec"])
        mounts.attach(top, target)
        for names, own in groups:
            if names:  # beside version 1 hierarchies the version 2 one has nothing to limit, and mounting it costs 10 ms and more
                _mount_controller(top, names, own, words)
        if "ro" in words:
            mounts.change(top, _READ_ONLY)
    os.close(top)
    os.close(target)


def _cgroup2(own: str, words: list[str]) -> int:
    try:
        return _own_group(mounts.create("cgroup2", "cgroup", words), own)
    except OSError as err:
        if err.errno not in (errno.EPERM, errno.EBUSY):
            raise
    # in a user namespace, with the host's cgroup namespace: what the host shows, and nothing of it can be written (CVE-2023-25809)
    return mounts.create("bind", "/sys/fs/cgroup", ["rbind", "ro", "nosuid", "nodev", "noexec"])


def _own_group(hierarchy: int, own: str) -> int:
    """Return the mount of the process's own group: with a cgroup namespace that is the hierarchy as it is, else a part of it."""
    if own == "/" or own.startswith("/.."):
        return hierarchy
    group = mounts.open_in_root(hierarchy, own, links=False)
    part = mounts.clone(group)
    os.close(group)
    os.close(hierarchy)
    return part


def _mount_controller(top: int, names: str, own: str, words: list[str]) -> None:
    try:
        hierarchy = _own_group(mounts.create("cgroup", "cgroup", [*names.split(","), *words]), own)
    except OSError as err:
        if err.errno in (errno.EPERM, errno.EBUSY, errno.EINVAL):
            return  # version 1 in a user namespace: shown empty, as nothing in it could be used
        raise
    target = _directory(top, names.removeprefix("name="))
    mounts.attach(hierarchy, target)
    os.close(target)
    os.close(hierarchy)


def _directory(parent: int, name: str) -> int:
    os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)

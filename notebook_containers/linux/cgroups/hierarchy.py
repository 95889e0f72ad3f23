"""Which cgroup hierarchies there are, and where in them this process may make groups.

Read from ``/proc/self/mountinfo`` and ``/proc/self/cgroup`` (cgroups(7)). The place for new groups is the topmost writable group between
a hierarchy's mount point and this process's own group: for root the hierarchy's root, so that every process of the machine finds the
same groups; for an ordinary user the top of what was delegated to it, if anything was.
"""

from __future__ import annotations

import os

from notebook_containers.linux.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROLLERS_V1 = ("memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "blkio", "freezer")
CONTROLLERS_V2 = ("memory", "cpu", "cpuset", "pids", "io")
SYSTEMD = "systemd"
UNIFIED = "unified"


class Place:
    """Where groups of one controller can be made: ``directory``, or "" and the ``reason`` why nowhere."""

    __slots__ = ("directory", "reason")

    def __init__(self, directory: str, reason: str = "") -> None:
        self.directory, self.reason = directory, reason


class Hierarchy:
    """What :func:`detect` found: ``version`` is v1, v2, hybrid (v1 controllers beside a v2 tree without any) or none."""

    __slots__ = ("places", "version")

    def __init__(self, version: str, places: dict[str, Place]) -> None:
        self.version, self.places = version, places

    def usable(self) -> dict[str, str]:
        """Return controller → "" when this process can make groups with it, or the reason why not."""
        return {name: place.reason for name, place in self.places.items() if name not in (SYSTEMD, UNIFIED)}


class _Mount:
    """One mounted hierarchy: the group that its mount point shows, the mount point, and its controllers (none: version 2)."""

    __slots__ = ("controllers", "point", "root")

    def __init__(self, root: str, point: str, controllers: tuple[str, ...]) -> None:
        self.root, self.point, self.controllers = root, point, controllers


def detect(root: str = "", *, pid: int = 0) -> Hierarchy:
    """Return the hierarchies of the machine whose file tree starts at ``root``, as they are for the process ``pid`` (0: this one).

    Reads only, makes nothing.
    """
    mounts = list(_mounts(root))
    own = _own_groups(root, str(pid or "self"))
    first = {name: mount for mount in reversed(mounts) for name in mount.controllers}
    unified = [mount for mount in mounts if not mount.controllers]
    if any(name in CONTROLLERS_V1 for name in first):
        places = {name: _place_v1(name, first.get(name), own.get(name, "/")) for name in CONTROLLERS_V1}
        if SYSTEMD in first:
            places[SYSTEMD] = _place_v1(SYSTEMD, first[SYSTEMD], own.get(SYSTEMD, "/"))
        return Hierarchy("hybrid" if unified else "v1", places)
    if unified:
        return Hierarchy("v2", _places_v2(unified[0], own.get("", "/")))
    return Hierarchy("none", {name: Place("", "no cgroup filesystem is mounted") for name in CONTROLLERS_V2})


def _mounts(root: str) -> Iterator[_Mount]:
    """Yield the cgroup mounts (proc_pid_mountinfo(5): fields, a dash, type, source, options of the filesystem)."""
    for line in files.read_or(f"{root}/proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        words, types = fields.split(" "), rest.split(" ")
        if len(words) < 5 or len(types) < 3:
            continue
        point = root + _unescape(words[4])
        if types[0] == "cgroup2":
            yield _Mount(_unescape(words[3]), point, ())
        elif types[0] == "cgroup" and (names := tuple(_controllers(types[2]))):
            yield _Mount(_unescape(words[3]), point, names)


def _controllers(options: str) -> Iterator[str]:
    """Yield the controllers among the options of a version 1 mount; several share one hierarchy when mounted together."""
    for option in options.split(","):
        if option in CONTROLLERS_V1:
            yield option
        elif option == "name=systemd":
            yield SYSTEMD


def _unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo."""
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, letter)
    return text


def _own_groups(root: str, process: str) -> dict[str, str]:
    """Return controller → the group of the process; the key of version 2 is the empty text."""
    found = {}
    for line in files.read_or(f"{root}/proc/{process}/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if not colon:
            continue
        for name in names.split(","):
            found[SYSTEMD if name == "name=systemd" else name] = path
    return found


def _candidates(mount: _Mount, own: str) -> Iterator[str]:
    """Yield the groups from the mount point down to this process's own, as directories."""
    path = mount.point.rstrip("/")
    yield path
    if mount.root != "/":
        # A bind mount of one group (a container's view without a cgroup namespace): paths count from the hierarchy's root.
        own = own[len(mount.root) :] if (own + "/").startswith(mount.root + "/") else ""
    for name in own.strip("/").split("/"):
        if name in ("", ".."):
            return
        path = f"{path}/{name}"
        yield path


def _why_not(mount: _Mount, name: str) -> str:
    """Return in words why no group can be made in ``mount``."""
    if files.is_read_only(mount.point):
        return f"the {name} cgroup filesystem is mounted read-only"
    return f"no writable {name} cgroup for this user"


def _place_v1(name: str, mount: _Mount | None, own: str) -> Place:
    """Return the place of one version 1 controller."""
    if mount is None:
        return Place("", f"the {name} controller is not mounted")
    for directory in _candidates(mount, own):
        if files.writable(directory) and files.writable(f"{directory}/cgroup.procs"):
            return Place(directory)
    return Place("", _why_not(mount, name))


def _places_v2(mount: _Mount, own: str) -> dict[str, Place]:
    """Return the place of each version 2 controller: one directory, where those are usable that its children can have.

    The key ``unified`` is the directory itself: without any controller, groups there still serve to freeze and to kill.
    """
    # A process may be moved only by who can write the common ancestor's cgroup.procs (cgroups(7), "delegation containment").
    writable = [d for d in _delegated(list(_candidates(mount, own))) if files.writable(d) and files.writable(f"{d}/cgroup.procs")]
    if not writable:
        return {name: Place("", _why_not(mount, name)) for name in (*CONTROLLERS_V2, UNIFIED)}
    reasons = [{name: _why_not_v2(directory, name) for name in CONTROLLERS_V2} for directory in writable]
    best = max(range(len(writable)), key=lambda index: (list(reasons[index].values()).count(""), -index))
    places = {name: Place("" if reason else writable[best], reason) for name, reason in reasons[best].items()}
    return {**places, UNIFIED: Place(writable[best])}


def _delegated(directories: list[str]) -> list[str]:
    """Leave out, for an ordinary user, what lies above the nearest group that systemd delegated: that is the manager's to write.

    The service of the user's manager is delegated to that manager.
    """
    marks = [index for index, directory in enumerate(directories) if files.is_delegated(directory)]
    return directories[marks[-1] :] if marks and os.geteuid() != 0 else directories


def _why_not_v2(directory: str, name: str) -> str:
    """Return why children of ``directory`` cannot have the controller ``name``, or "" when they can."""
    if name in files.read_or(f"{directory}/cgroup.subtree_control").split():
        return ""
    if name not in files.read_or(f"{directory}/cgroup.controllers").split():
        return f"the {name} controller is not delegated to {os.path.basename(directory) or directory}"
    if not files.writable(f"{directory}/cgroup.subtree_control"):
        return f"no writable {name} cgroup for this user"
    # Only the real root may hold processes and give controllers to children; it alone has no cgroup.type (cgroups(7)).
    if os.path.exists(f"{directory}/cgroup.type") and files.read_or(f"{directory}/cgroup.procs"):
        return f"the group {os.path.basename(directory)} holds processes itself, so its children cannot get the {name} controller"
    return ""

"""One way to limit, count, stop and kill processes, for cgroup v1, v2 and both at once.

:func:`open_cgroup` gives a :class:`~notebook_containers.linux.cgroups.protocol.Cgroup`. Standard library only and cheap to import.
"""

from __future__ import annotations

from notebook_containers.linux.cgroups import files
from notebook_containers.linux.cgroups.hierarchy import UNIFIED, Hierarchy, detect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from notebook_containers.linux.cgroups.protocol import Cgroup as Cgroup

__all__ = ["Hierarchy", "detect", "open_cgroup", "restore_cgroup", "usable"]


def open_cgroup(
    path: str, *, hierarchy: Hierarchy | None = None, root: str = "", lent_parents: bool = False, everywhere: bool = False
) -> Cgroup:
    """Return the cgroup ``path`` (``parent/name``, below what :func:`detect` found); touches no file until a method is called.

    ValueError for a path that is absolute, empty or leads elsewhere. ``root`` is the machine's file tree, for tests. With
    ``lent_parents`` the groups above are somebody else's: made when missing, but neither limited nor removed. ``everywhere``:
    in every version 1 hierarchy, also where nothing is limited.
    """
    parts = path.split("/")
    if not path.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"not a cgroup path: {path!r}")
    found = hierarchy or detect(root)
    bases = {name: place.directory for name, place in found.places.items() if place.directory}
    if found.version in ("v2", "none"):
        return _v2(path, bases.pop(UNIFIED, ""), tuple(bases), found.usable(), root, lent_parents=lent_parents)
    from notebook_containers.linux.cgroups.v1 import CgroupV1

    return CgroupV1(path, bases, found.usable(), root=root, lent_parents=lent_parents, everywhere=everywhere)


def restore_cgroup(path: str, locations: Mapping[str, str], *, root: str = "", lent_parents: bool = False) -> Cgroup:
    """Return the cgroup ``path`` whose ``locations()`` another process wrote down: right even where this one would make its groups."""
    bases = {name: directory.removesuffix("/" + path) for name, directory in locations.items()}
    if UNIFIED in bases or not bases:
        base = bases.get(UNIFIED, "")
        controllers = tuple(files.read_or(f"{base}/{path}/cgroup.controllers").split())
        return _v2(path, base, controllers, {}, root, lent_parents=lent_parents)
    from notebook_containers.linux.cgroups.v1 import CgroupV1

    return CgroupV1(path, bases, {}, root=root, lent_parents=lent_parents)


def _v2(path: str, base: str, controllers: tuple[str, ...], reasons: Mapping[str, str], root: str, *, lent_parents: bool) -> Cgroup:
    """Return a version 2 group; each version's modules are loaded only where they are used."""
    from notebook_containers.linux.cgroups.v2 import CgroupV2

    return CgroupV2(path, base, controllers, reasons, root=root, lent_parents=lent_parents)


def usable(pid: int = 0) -> dict[str, str]:
    """Return controller → "" when the process ``pid`` (0: this one) can limit with it, or the reason why not, in words."""
    return detect(pid=pid).usable()

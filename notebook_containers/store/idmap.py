"""Whose ids the files of a store have: decided when it is made, remembered in ``idmap.json``, checked whenever it is opened.

Root's files have their true owners. An ordinary user's store has the lent ids where newuidmap gives them, else the user's own id only.
A store cannot change its map while it holds trees: every file in it would belong to somebody else.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.errors import Corrupt, Error, StoreError
from notebook_containers.lean import dataclass
from notebook_containers.store.disk import Disk, fsync_directory, translated
from notebook_containers.store.trees import LocalTrees, Trees

if TYPE_CHECKING:
    from notebook_containers.linux.idmaps import IdMaps

NAME = "idmap.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreIds:
    """The ids of a store: ``maps`` is None for root. ``note`` says in words why it is one id only, or empty."""

    maps: IdMaps | None
    note: str = ""

    @property
    def single(self) -> bool:
        """Whether only one id exists in this store's trees."""
        return self.maps is not None and self.maps.single

    def trees(self) -> Trees:
        """Return what works on files with these ids."""
        if self.maps is None:
            return LocalTrees(None, userxattr=False)
        if self.single:
            return LocalTrees(self.maps, userxattr=True)
        from notebook_containers.store.mapped import MappedTrees

        return MappedTrees(self.maps)


def settle(disk: Disk) -> StoreIds:
    """Return the ids of the store at ``disk``, choosing them for a new one.

    Raises StoreError when the store's ids are not the caller's any more, with what to do.
    """
    if os.geteuid() == 0:
        return StoreIds(maps=None)
    from notebook_containers.linux import idmaps

    path = disk.root / NAME
    maps = _read(path)
    if maps is None:
        maps = idmaps.own_map() if _has_trees(disk) else None
    if maps is None or (maps.single and not _has_trees(disk)):
        return _choose(disk, path, maps)
    if maps.single:
        return StoreIds(maps=maps, note=_why_still_single())
    _check(maps, disk.root)
    return StoreIds(maps=maps)


def best() -> tuple[IdMaps, str]:
    """Return the widest map that the caller can have, tried out, and why it is not wider (empty when it is wide)."""
    from notebook_containers.linux import idmaps
    from notebook_containers.store.mapped import MappedTrees

    lent = idmaps.lent_ids()
    wide = idmaps.wide_map(lent)
    if wide is None:
        return idmaps.own_map(), "; ".join(lent.problems) or "no ids are lent to this user in /etc/subuid and /etc/subgid"
    if reason := idmaps.helpers_missing():
        return idmaps.own_map(), reason
    trees = MappedTrees(wide)
    try:
        trees.start()
    except Error as err:
        return idmaps.own_map(), err.message
    finally:
        trees.close()
    return wide, ""


def _choose(disk: Disk, path: Path, before: IdMaps | None) -> StoreIds:
    maps, note = best()
    if maps != before:
        _write(disk, path, maps, replace=before is not None)
        maps = _read(path) or maps  # another process may have been first
    return StoreIds(maps=maps, note=note if maps.single else "")


def _why_still_single() -> str:
    from notebook_containers.linux import idmaps

    lent = idmaps.lent_ids()
    if idmaps.wide_map(lent) is None:
        return "; ".join(lent.problems) or "no ids are lent to this user in /etc/subuid and /etc/subgid"
    if reason := idmaps.helpers_missing():
        return reason
    return "this store was made when only one id could be had; a new one (NBC_ROOT=DIRECTORY) has the ids of /etc/subuid"


def _check(maps: IdMaps, root: Path) -> None:
    from notebook_containers.linux import idmaps

    lent = idmaps.lent_ids()
    why = ""
    if maps.uids[0][1] != os.geteuid():
        raise StoreError(f"the store {root} was made by user {maps.uids[0][1]}", hint="set NBC_ROOT to a directory of your own")
    if not lent.holds(maps):
        why = "; ".join(lent.problems) or "/etc/subuid and /etc/subgid do not lend them any more"
    why = why or idmaps.helpers_missing()
    if why:
        raise StoreError(
            f"the files of the store {root} have ids that this user cannot have now ({maps.describe()}): {why}",
            hint="have them lent again, or start a new store with NBC_ROOT=DIRECTORY; see 'nbc doctor'",
        )


def _has_trees(disk: Disk) -> bool:
    return any(os.listdir(disk.root / name) for name in ("layers", "snapshots"))


def _read(path: Path) -> IdMaps | None:
    from notebook_containers.linux.idmaps import IdMaps

    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise StoreError(f"cannot read {path}: {err.strerror}") from err
    try:
        return IdMaps.from_json(json.loads(text))
    except ValueError as err:
        raise Corrupt(
            f"{path} is damaged: {err}", hint="it says which ids the store's files have; start a new store with NBC_ROOT"
        ) from err


def _write(disk: Disk, path: Path, maps: IdMaps, *, replace: bool) -> None:
    with disk.lease(), translated(path):
        staged = disk.staged_path()
        fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, json.dumps(maps.to_json()).encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        if replace:
            os.rename(staged, path)
        else:
            with suppress(FileExistsError):
                os.link(staged, path)
            os.unlink(staged)
        fsync_directory(disk.root)

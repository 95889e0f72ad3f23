"""Verbs that give disk back: ``system prune`` (what nothing needs) and ``system reset`` (everything but volumes, unless they are named)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.engine.network_words import BUILT_IN
from notebook_containers.errors import Conflict, Corrupt, Error, NotFound
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.engine.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaimed:
    """What went: names and ids, bytes, and in words what could not go yet."""

    containers: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    bytes: int = 0
    warnings: tuple[str, ...] = ()


def prune(engine: Engine, *, all: bool, volumes: bool, filters: Mapping[str, object] | None) -> Reclaimed:
    """Remove containers that do not run, images without a name (``all``: unused ones), networks without a container, unused layers.

    ``volumes``: also anonymous volumes that no container has; named ones go only by their name.
    """
    boxes = engine.containers.prune(filters)
    anonymous = engine.volumes.prune() if volumes else {"VolumesDeleted": [], "SpaceReclaimed": 0}
    images = engine.images.prune(filters, all=all)
    return Reclaimed(
        containers=_words(boxes["ContainersDeleted"]),
        images=_words(images["ImagesDeleted"]),
        volumes=_words(anonymous["VolumesDeleted"]),
        networks=() if filters else _prune_networks(engine),
        bytes=int(str(boxes["SpaceReclaimed"])) + int(str(images["SpaceReclaimed"])) + int(str(anonymous["SpaceReclaimed"])),
        warnings=_words(images["Warnings"]),
    )


def _words(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else ()


def _prune_networks(engine: Engine) -> tuple[str, ...]:
    gone = []
    for network in engine.networks.list():
        if network.name not in BUILT_IN:
            with suppress(Conflict, NotFound):
                engine.networks.remove(network.name)
                gone.append(network.name)
    return tuple(gone)


def reset(engine: Engine, *, volumes: bool) -> Reclaimed:
    """Remove every container, running or not, every image, network and the build cache; with ``volumes`` every volume too.

    Without ``volumes`` no byte of a volume goes. Safe to kill and to do again.
    """
    boxes = tuple(container.id for container in engine.containers.every())
    for container in engine.containers.every():
        with suppress(NotFound):
            container.remove(force=True)
    names = tuple(volume.name for volume in engine.volumes.list()) if volumes else ()
    for name in names:
        with suppress(NotFound):
            engine.volumes.remove(name)
    images = engine.images.prune(all=True)
    engine._parts.store.disk.settle()
    return Reclaimed(
        containers=boxes,
        images=_words(images["ImagesDeleted"]),
        volumes=names,
        networks=_prune_networks(engine),
        bytes=int(str(images["SpaceReclaimed"])),
        warnings=_words(images["Warnings"]),
    )


def start_over(root: Path, run: Path) -> None:
    """Make a store anew whose database cannot be read: containers are ended, images and containers forgotten; volumes keep every byte.

    The damaged database stays beside the new one, as ``nbc.db.damaged``. Raises StoreError when the directory cannot be written.
    """
    from notebook_containers.runtime.lifecycle import Runtime
    from notebook_containers.store.store import Store

    runtime = Runtime(run)
    try:
        for identity in runtime.ids():
            with suppress(Error):
                runtime.delete(identity, force=True)
    finally:
        runtime.close()
    Store.set_aside(root)
    with Store.open(root) as store:
        for name in sorted(path.name for path in (root / "volumes").iterdir()):
            with suppress(Error):
                store.volumes.adopt(name)


def reset_all(root: Path, run: Path, *, volumes: bool) -> Reclaimed:
    """Reset the store at ``root``, whatever its state is."""
    from notebook_containers.engine.engine import Engine

    try:
        with Engine(root=root, run=run) as engine:
            return reset(engine, volumes=volumes)
    except Corrupt:
        start_over(root, run)
    with Engine(root=root, run=run) as engine:
        return reset(engine, volumes=volumes)

"""``engine.volumes``: named volumes; docker-py's verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from notebook_containers.engine import volume_backing
from notebook_containers.engine.filters import has_label, prune_test, truth, values
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import new_id
from notebook_containers.engine.volume import Volume
from notebook_containers.engine.volume_options import ANONYMOUS, backing
from notebook_containers.engine.words import check_name
from notebook_containers.errors import Conflict, Error, InvalidArgument, Unsupported, VolumeNotFound


class Volumes:
    """The volumes of one engine; docker-py's verbs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def create(
        self,
        name: str | None = None,
        driver: str | None = None,
        driver_opts: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume (or return the one of that name, as Docker does); ``driver_opts`` are those of Docker's ``local`` driver.

        Without a name it gets one of 64 digits and Docker's label of anonymous volumes. Raises Conflict for a volume that has other
        options, InvalidArgument for options that are none, Unsupported for a driver or file system that there is not here.
        """
        options = {str(key): str(value) for key, value in (driver_opts or {}).items()}
        if driver not in (None, "", "local"):
            raise Unsupported(f"there is no volume driver {driver!r}", hint="use local, which has -o type, device and o")
        wanted = backing(options)
        chosen = check_name(name) if name else new_id()
        try:
            found = self.get(chosen)
        except VolumeNotFound:
            volume_backing.check(self._parts, wanted)
            return self._make(chosen, {**(labels or {}), **({} if name else {ANONYMOUS: ""})}, options)
        if options and found.options != options:
            hint = f"look at it (nbc volume inspect {chosen}), or choose another name"
            raise Conflict(f"volume {chosen} exists with other options", hint=hint)
        return found

    def _make(self, name: str, labels: Mapping[str, str], options: Mapping[str, str]) -> Volume:
        volume = Volume(self._parts, self._parts.store.volumes.create(name, labels=labels, options=options))
        self._parts.emit("volume", "create", name, {"driver": "local"})
        return volume

    def get(self, name: str) -> Volume:
        """Return a volume; raises VolumeNotFound."""
        return Volume(self._parts, self._parts.store.volumes.get(name))

    def list(self, filters: Mapping[str, object] | None = None) -> Sequence[Volume]:
        """Return the volumes, by name; ``filters``: dangling (no container has it), driver, label, name (a part of it)."""
        found = [Volume(self._parts, record) for record in self._parts.store.volumes.list()]
        return selected(found, filters) if filters else found

    def users(self) -> Mapping[str, Sequence[str]]:
        """Return the names of the containers, running or not, that have each volume that any has."""
        return volume_backing.all_users(self._parts)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a volume and the bytes in it; raises Conflict while a container has it, VolumeNotFound unless ``force``."""
        try:
            self.destroy(self._parts, name)
        except VolumeNotFound:
            if not force:
                raise

    def prune(self, filters: Mapping[str, object] | None = None) -> dict[str, object]:
        """Delete volumes that no container has: anonymous ones only, unless the filters say ``all``; others: label, label!.

        Returns docker-py's ``VolumesDeleted`` and ``SpaceReclaimed``. InvalidArgument for another filter.
        """
        if "until" in (filters or {}):
            raise InvalidArgument("filter 'until' is not understood by volume prune", hint="use all=true, label=NAME[=VALUE] or label!=…")
        rest = {key: value for key, value in (filters or {}).items() if key != "all"}
        every = truth("all", (filters or {}).get("all", ()))
        fits = prune_test(rest)
        gone, freed = [], 0
        for volume in self.list():
            if (every or volume.anonymous) and fits(volume.created, volume.labels):
                size = volume.size()
                with suppress(Conflict, VolumeNotFound):
                    self.remove(volume.name)
                    gone.append(volume.name)
                    freed += size
        self._parts.emit("volume", "prune", "", {"reclaimed": freed})
        return {"VolumesDeleted": gone, "SpaceReclaimed": freed}

    @staticmethod
    def destroy(parts: Parts, name: str) -> None:
        """Delete a volume, unless a container has it (Conflict); a directory that it was bound to stays."""

        def check() -> None:
            if holders := volume_backing.users(parts, name):
                raise Conflict(f"volume {name} is used by container {holders[0]}", hint=f"remove it first: nbc rm {holders[0]}")

        parts.store.volumes.remove(name, check=check, release=lambda record: volume_backing.release(parts, record))
        parts.emit("volume", "destroy", name, {"driver": "local"})

    def discard(self, names: Iterable[str]) -> None:
        """Delete volumes that were made for a container that could not be made; what another container took meanwhile stays."""
        for name in names:
            with suppress(Error):
                self.remove(name)


def selected(volumes: Sequence[Volume], filters: Mapping[str, object]) -> list[Volume]:
    """Return the volumes that pass ``ls --filter``: every key must fit, and of its values one (of label's each), as Docker does it."""
    tests: Mapping[str, Callable[[Volume, list[str]], bool]] = {
        "dangling": lambda v, words: any(truth("dangling", word) is not bool(v.containers()) for word in words),
        "driver": lambda v, words: v.driver in words,
        "label": lambda v, words: all(has_label(v.labels, word) for word in words),
        "label!": lambda v, words: not any(has_label(v.labels, word) for word in words),
        "name": lambda v, words: any(word in v.name for word in words),
    }
    for key in filters:
        if key not in tests:
            raise InvalidArgument(f"filter {key!r} is not understood by volumes", hint="use dangling, driver, label or name")
    wanted = [(tests[key], values(given)) for key, given in filters.items()]
    return [volume for volume in volumes if all(test(volume, words) for test, words in wanted)]

"""``engine.volumes``: named volumes, and the mounts a container's options and image ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from contextlib import suppress
from pathlib import Path

from notebook_containers.engine.documents import ContainerDocument, MountPoint
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import new_id
from notebook_containers.engine.words import check_name
from notebook_containers.errors import Conflict, Error, InvalidArgument, VolumeNotFound
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.oci.image import Digest
from notebook_containers.store.volumes import Volume


class Volumes:
    """The volumes of one engine; docker-py's verbs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def create(self, name: str | None = None, *, labels: Mapping[str, str] | None = None) -> Volume:
        """Make a volume (or return the one of that name, as Docker does)."""
        chosen = check_name(name) if name else new_id()
        try:
            return self._parts.store.volumes.get(chosen)
        except VolumeNotFound:
            return self._parts.store.volumes.create(chosen, labels=dict(labels or {}))

    def get(self, name: str) -> Volume:
        """Return a volume; raises VolumeNotFound."""
        return self._parts.store.volumes.get(name)

    def list(self) -> Sequence[Volume]:
        """Return every volume."""
        return self._parts.store.volumes.list()

    def remove(self, name: str) -> None:
        """Delete a volume and the bytes in it; raises Conflict while a container has it."""
        holders = users(self._parts, name)
        if holders:
            raise Conflict(f"volume {name} is used by container {holders[0]}", hint=f"remove it first: nbc rm {holders[0]}")
        self._parts.store.volumes.remove(name)

    def discard(self, names: Iterable[str]) -> None:
        """Delete volumes that were made for a container that could not be made; what another container took meanwhile stays."""
        for name in names:
            with suppress(Error):
                self.remove(name)

    def mount_points(
        self, options: ContainerOptions, declared: Iterable[str], layers: Sequence[Digest], *, made: MutableSequence[str]
    ) -> Sequence[MountPoint]:
        """Return the mounts for a new container: the caller's, and an anonymous volume for each VOLUME of the image not covered by them.

        A volume that is new is filled with what the image has at that path, and its name is added to ``made`` as soon as it exists.
        """
        points = [self._point(m.kind, m.source, m.target, read_only=m.read_only, layers=layers, made=made) for m in options.volumes]
        covered = {p.target for p in points} | set(options.tmpfs)
        for target in sorted(declared):
            clean = "/" + "/".join(part for part in target.split("/") if part not in ("", ".", ".."))
            if clean not in covered and clean != "/":
                points.append(self._point("volume", "", clean, read_only=False, layers=layers, made=made))
        return sorted(points, key=lambda p: p.target.count("/"))

    def _point(
        self, kind: str, source: str, target: str, *, read_only: bool, layers: Sequence[Digest], made: MutableSequence[str]
    ) -> MountPoint:
        if kind == "bind":
            return self._bind(Path(source), target, read_only=read_only)
        fresh = not source or not any(v.name == source for v in self.list())
        volume = self.create(source or None)
        if fresh:
            made.append(volume.name)
            self._parts.store.snapshots.copy_out(layers, target, volume.path)
        return MountPoint(
            kind="volume", source=str(volume.path), target=target, volume=volume.name, read_only=read_only, anonymous=not source
        )

    def _bind(self, source: Path, target: str, *, read_only: bool) -> MountPoint:
        if not source.exists():
            try:
                source.mkdir(parents=True)
            except OSError as err:
                raise InvalidArgument(f"volume source {source} does not exist and cannot be made: {err.strerror}") from err
        return MountPoint(kind="bind", source=str(source), target=target, read_only=read_only)


def users(parts: Parts, name: str) -> Sequence[str]:
    """Return the names of the containers that have this volume."""
    return [row.name for row in parts.store.records.containers() if any(m.volume == name for m in _document(row.document).mounts)]


def _document(text: str) -> ContainerDocument:
    return ContainerDocument.from_json(untrusted_json(text.encode(), what="container record"))

"""``engine.volumes``: named volumes, and the mounts a container's options and image ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from contextlib import suppress
from pathlib import Path

from notebook_containers.engine.documents import ContainerDocument, MountPoint
from notebook_containers.engine.mount_words import VolumeMount
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import new_id
from notebook_containers.engine.words import check_name
from notebook_containers.errors import Conflict, Error, InvalidArgument, Unsupported, VolumeNotFound
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
            volume = self._parts.store.volumes.create(chosen, labels=dict(labels or {}))
            self._parts.emit("volume", "create", chosen, {"driver": "local"})
            return volume

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
        self.destroy(self._parts, name)

    @staticmethod
    def destroy(parts: Parts, name: str) -> None:
        """Delete a volume that the caller knows to be free."""
        parts.store.volumes.remove(name)
        parts.emit("volume", "destroy", name, {"driver": "local"})

    def discard(self, names: Iterable[str]) -> None:
        """Delete volumes that were made for a container that could not be made; what another container took meanwhile stays."""
        for name in names:
            with suppress(Error):
                self.remove(name)

    def mount_points(
        self,
        options: ContainerOptions,
        declared: Iterable[str],
        layers: Sequence[Digest],
        *,
        made: MutableSequence[str],
        inherited: Sequence[MountPoint] = (),
    ) -> Sequence[MountPoint]:
        """Return the mounts for a new container: the caller's, others' that are not covered by them, and an anonymous volume for each
        VOLUME of the image that neither covers.

        A volume that is new is filled with what the image has at that path, and its name is added to ``made`` as soon as it exists.
        """
        points = [self._point(mount, layers=layers, made=made) for mount in options.volumes]
        covered = {p.target for p in points} | set(options.tmpfs)
        points += [point for point in inherited if point.target not in covered]
        covered |= {p.target for p in points}
        for target in sorted(declared):
            clean = "/" + "/".join(part for part in target.split("/") if part not in ("", ".", ".."))
            if clean not in covered and clean != "/":
                points.append(self._point(VolumeMount(kind="volume", source="", target=clean), layers=layers, made=made))
        return sorted(points, key=lambda p: p.target.count("/"))

    def _point(self, mount: VolumeMount, *, layers: Sequence[Digest], made: MutableSequence[str]) -> MountPoint:
        if mount.kind == "bind":
            return self._bind(mount)
        fresh = not mount.source or not any(v.name == mount.source for v in self.list())
        volume = self.create(mount.source or None, labels=mount.labels)
        if fresh:
            made.append(volume.name)
            if not mount.no_copy:
                self._parts.store.snapshots.copy_out(layers, mount.target, volume.path)
        return MountPoint(
            kind="volume",
            source=str(volume.path),
            target=mount.target,
            volume=volume.name,
            read_only=mount.read_only,
            anonymous=not mount.source,
            subpath=mount.subpath,
        )

    def _bind(self, mount: VolumeMount) -> MountPoint:
        source = Path(mount.source)
        if not source.exists():
            if mount.must_exist:
                raise InvalidArgument(f"--mount source {source} does not exist", hint="make it first, or use -v, which makes it")
            try:
                source.mkdir(parents=True)
            except OSError as err:
                raise InvalidArgument(f"volume source {source} does not exist and cannot be made: {err.strerror}") from err
        if mount.propagation.removeprefix("r") in ("shared", "slave"):
            self._check_shared(source, mount.propagation)
        return MountPoint(
            kind="bind",
            source=mount.source,
            target=mount.target,
            read_only=mount.read_only,
            propagation=mount.propagation,
            recursive=mount.recursion != "disabled",
        )

    def _check_shared(self, source: Path, word: str) -> None:
        """Refuse a propagation that could not happen, as Docker does."""
        if self._parts.host.rootless and word.endswith("shared"):
            raise Unsupported(f"{word} needs root: mounts made by an ordinary user's container are its own", hint="rslave works")
        fields = _propagation_of(source)
        if not any(field.startswith(("shared:", "master:")) for field in fields):
            raise InvalidArgument(
                f"{word}: {source} lies on a mount that shares nothing",
                hint="make it shared first: mount --make-rshared MOUNTPOINT",
            )


def _propagation_of(path: Path) -> list[str]:
    """Return the propagation fields (proc_pid_mountinfo(5), "optional fields") of the mount that ``path`` lies on."""
    best, found = -1, []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.partition(" - ")[0].split(" ")
        point = words[4].encode().decode("unicode_escape")
        if path.is_relative_to(point) and len(point) >= best:
            best, found = len(point), words[6:]
    return found


def users(parts: Parts, name: str) -> Sequence[str]:
    """Return the names of the containers that have this volume."""
    return [row.name for row in parts.store.records.containers() if any(m.volume == name for m in _document(row.document).mounts)]


def _document(text: str) -> ContainerDocument:
    return ContainerDocument.from_json(untrusted_json(text.encode(), what="container record"))

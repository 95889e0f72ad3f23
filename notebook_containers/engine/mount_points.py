"""From the mounts that options and an image ask for to what a new container has: volumes made and filled, images and overlays prepared."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from pathlib import Path

from notebook_containers.engine import users, volume_backing
from notebook_containers.engine.documents import ContainerDocument, MountPoint
from notebook_containers.engine.mount_words import VolumeMount
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.volume import Volume
from notebook_containers.engine.volumes import Volumes
from notebook_containers.errors import InvalidArgument, NotFound, Unsupported, VolumeNotFound
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.image import Digest
from notebook_containers.oci.runtime import Mount

_NEVER_OWNED = (
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv",
    "/sys", "/tmp", "/usr", "/var",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Made:
    """What was made for a container that may still fail, to be taken away again: names of volumes, keys of snapshots."""

    volumes: MutableSequence[str] = field(default_factory=list)
    snapshots: MutableSequence[str] = field(default_factory=list)

    def undo(self, parts: Parts, volumes: Volumes) -> None:
        """Take it away; a volume that another container took meanwhile stays."""
        volumes.discard(self.volumes)
        for key in self.snapshots:
            parts.store.snapshots.remove(key)


def mount_points(
    parts: Parts,
    volumes: Volumes,
    document: ContainerDocument,
    images: Mapping[str, Sequence[Digest]],
    *,
    made: Made,
    inherited: Sequence[MountPoint] = (),
) -> Sequence[MountPoint]:
    """Return the mounts for a new container: the caller's, others' that are not covered by them, and an anonymous volume for each VOLUME
    of the image that neither covers.

    ``images`` are the layers of the images that it mounts, by the names given. A volume without files is filled with what the image has at
    that path. What is made is told to ``made`` as soon as it exists.
    """
    maker = _Maker(parts, volumes, document, images, made)
    points = [maker.point(mount) for mount in document.options.volumes]
    covered = {p.target for p in points} | set(document.options.tmpfs)
    points += [maker.again(point) for point in inherited if point.target not in covered]
    covered |= {p.target for p in points}
    for target in sorted(document.config.volumes):
        clean = "/" + "/".join(part for part in target.split("/") if part not in ("", ".", ".."))
        if clean not in covered and clean != "/":
            points.append(maker.point(VolumeMount(kind="volume", source="", target=clean)))
    return sorted(points, key=lambda p: p.target.count("/"))


def mounted(parts: Parts, point: MountPoint, more: Sequence[str]) -> Mount:
    """Return what the Spec says of one mount point; ``more`` are words for it."""
    part = (f"subpath={point.subpath}",) if point.subpath else ()
    if not point.snapshot:
        shape = ("rbind" if point.recursive else "bind", point.propagation or "rprivate")
        options = (*more, *shape, "nosuid", "nodev", "ro" if point.read_only else "rw", *part)
        return Mount(destination=point.target, type="bind", source=point.source, options=options)
    snapshots = parts.store.snapshots
    if point.kind == "bind":
        seen = snapshots.over(point.snapshot, Path(point.source))
    elif point.read_only:
        (seen,) = snapshots.view(snapshots.layers(point.snapshot))
    else:
        (seen,) = snapshots.mounts(point.snapshot)
    only = ("ro",) if point.read_only else ()
    return Mount(destination=point.target, type=seen.type, source=seen.source, options=(*seen.options, "nosuid", "nodev", *only, *part))


def volume_notes(parts: Parts, points: Iterable[MountPoint]) -> list[str]:
    """Return in words what of the volumes is weaker than it looks."""
    named = dict.fromkeys(point.volume for point in points if point.volume)
    return [text for name in named for text in volume_backing.notes(parts, parts.store.volumes.get(name))]


def check_volumes(parts: Parts, points: Iterable[MountPoint]) -> None:
    """Raise VolumeNotFound when a volume was removed while a container that now has it was made; and make all ready to be mounted."""
    for point in points:
        if point.volume:
            volume_backing.ready(parts, parts.store.volumes.get(point.volume))


class _Maker:
    def __init__(
        self, parts: Parts, volumes: Volumes, document: ContainerDocument, images: Mapping[str, Sequence[Digest]], made: Made
    ) -> None:
        self._parts, self._volumes, self._document, self._images, self._made = parts, volumes, document, images, made
        self._maps = parts.host.container_maps(document.options.userns, first_id=document.first_id)

    def point(self, mount: VolumeMount) -> MountPoint:
        point = {"bind": self._bind, "volume": self._volume, "image": self._image}[mount.kind](mount)
        if mount.own:
            self._own(point)
        return point

    def again(self, point: MountPoint) -> MountPoint:
        """Return another container's mount for this one; what is written over an image or a directory is not shared."""
        if not point.snapshot:
            return point
        if point.kind == "image":
            return replace(point, snapshot=self._snapshot(self._parts.store.snapshots.layers(point.snapshot)))
        return replace(point, snapshot=self._over(Path(point.source)))

    # volumes

    def _volume(self, mount: VolumeMount) -> MountPoint:
        volume = self._found(mount)
        path = volume_backing.ready(self._parts, volume.record)
        if not mount.no_copy and not mount.subpath:
            self._fill(volume, path, mount.target)
        return MountPoint(
            kind="volume",
            source=str(path),
            target=mount.target,
            volume=volume.name,
            read_only=mount.read_only or volume.backing.read_only,
            anonymous=not mount.source,
            subpath=mount.subpath,
        )

    def _found(self, mount: VolumeMount) -> Volume:
        try:
            if mount.source and not mount.options:
                return self._volumes.get(mount.source)
        except VolumeNotFound:
            pass
        before = {volume.name for volume in self._volumes.list()} if mount.source else set()
        volume = self._volumes.create(mount.source or None, driver_opts=mount.options, labels=mount.labels)
        if volume.name not in before:
            self._made.volumes.append(volume.name)
        return volume

    def _fill(self, volume: Volume, path: Path, target: str) -> None:
        """Copy what the image has at the place into a volume without files; two containers at once do it once."""
        with self._parts.store.disk.turn(f"fill-{hashlib.sha256(volume.name.encode()).hexdigest()[:16]}"):
            try:
                if not self._parts.store.trees.names_live(path, "/"):
                    self._parts.store.snapshots.copy_out(self._document.layers, target, path)
            except FileNotFoundError as err:
                raise VolumeNotFound(f"volume {volume.name} was removed a moment ago", hint="try again: it is made anew") from err

    # directories of this machine

    def _bind(self, mount: VolumeMount) -> MountPoint:
        source = Path(mount.source)
        if not source.exists():
            if mount.must_exist:
                hint = "make it first, add bind-create-src, or use -v, which makes it"
                raise InvalidArgument(f"--mount source {source} does not exist", hint=hint)
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
            snapshot=self._over(source) if mount.overlay else "",
        )

    def _check_shared(self, source: Path, word: str) -> None:
        """Refuse a propagation that could not happen, as Docker does."""
        if self._parts.host.rootless and word.endswith("shared"):
            raise Unsupported(f"{word} needs root: mounts made by an ordinary user's container are its own", hint="rslave works")
        fields = _propagation_of(source)
        if not any(text.startswith(("shared:", "master:")) for text in fields):
            raise InvalidArgument(
                f"{word}: {source} lies on a mount that shares nothing",
                hint="make it shared first: mount --make-rshared MOUNTPOINT",
            )

    def _over(self, source: Path) -> str:
        """Prepare a place for what is written over a directory, which shows itself as that directory does."""
        self._refuse_ranges(":O")
        if not source.is_dir():
            raise InvalidArgument(f"volume option O: {source} is no directory", hint="O is for directories of this machine")
        key = self._snapshot(())
        status, maps = source.stat(), self._parts.host.maps
        uid = _inside(status.st_uid, maps.uids) if maps else status.st_uid
        gid = _inside(status.st_gid, maps.gids) if maps else status.st_gid
        self._parts.store.snapshots.show_as(key, (stat.S_IMODE(status.st_mode), uid, gid))
        return key

    # images

    def _image(self, mount: VolumeMount) -> MountPoint:
        from notebook_containers.build.view import View

        self._refuse_ranges("--mount type=image")
        layers, subpath = self._images[mount.source], ""
        if not layers:
            raise InvalidArgument(f"image {mount.source} has no files to mount", hint="choose another image")
        if mount.subpath:
            with View(self._parts.store.layers, tuple(layers)) as view:
                place = view.resolve(f"/{mount.subpath}")
            if place is None:
                raise NotFound(f"there is no {mount.subpath} in image {mount.source}", hint=f"look: nbc run --rm {mount.source} ls /")
            subpath = place.path.strip("/")
        return MountPoint(
            kind="image",
            source=mount.source,
            image=mount.source,
            target=mount.target,
            read_only=mount.read_only,
            subpath=subpath,
            snapshot=self._snapshot(layers),
        )

    def _snapshot(self, layers: Sequence[Digest]) -> str:
        key = f"{self._document.id}-{len(self._made.snapshots)}"
        self._parts.store.snapshots.prepare(key, layers, volatile=self._document.options.auto_remove)
        self._made.snapshots.append(key)
        return key

    def _refuse_ranges(self, what: str) -> None:
        if self._document.first_id:
            raise Unsupported(f"{what} does not go with --userns auto", hint="leave out one of them")

    # owners

    def _own(self, point: MountPoint) -> None:
        """Give all files of a mount to the user that the container runs as."""
        if point.kind == "bind" and os.path.normpath(point.source) in (*_NEVER_OWNED, os.path.expanduser("~")):
            raise InvalidArgument(f"volume option U would change every owner in {point.source}", hint="choose a directory in it")
        user = users.of_container(self._parts, self._document)
        uid, gid = user.uid, user.gid
        if self._maps is not None and not (self._document.first_id and point.kind == "volume"):  # whose owners are shown as the ids inside
            uid, gid = _outside(uid, self._maps.uids), _outside(gid, self._maps.gids)
            if (maps := self._parts.host.maps) is not None:
                uid, gid = _inside(uid, maps.uids), _inside(gid, maps.gids)
        place = Path(point.source, point.subpath) if point.kind == "volume" and point.subpath else Path(point.source)
        if point.snapshot:
            return
        try:
            self._parts.store.trees.own(place, uid, gid)
        except OSError as err:
            name = os.path.join(point.source, *([os.fsdecode(err.filename)] if err.filename else []))
            words = f"volume option U cannot change the owner of {name}: {(err.strerror or str(err)).rpartition(': ')[2].lower()}"
            raise InvalidArgument(words, hint="leave U out, or choose a directory in which everything is yours") from err


def _inside(number: int, lines: Iterable[tuple[int, int, int]]) -> int:
    """Return what an id of this machine is in a map; root where it is not in it."""
    return next((inside + number - first for inside, first, count in lines if first <= number < first + count), 0)


def _outside(number: int, lines: Iterable[tuple[int, int, int]]) -> int:
    return next((first + number - inside for inside, first, count in lines if inside <= number < inside + count), number)


def _propagation_of(path: Path) -> list[str]:
    """Return the propagation fields (proc_pid_mountinfo(5), "optional fields") of the mount that ``path`` lies on."""
    best, found = -1, []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.partition(" - ")[0].split(" ")
        point = words[4].encode().decode("unicode_escape")
        if path.is_relative_to(point) and len(point) >= best:
            best, found = len(point), words[6:]
    return found

"""Snapshots: a writable file system over layers. Mounts are returned, never made, except by :meth:`Snapshots.edit`."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.errors import Conflict, InvalidArgument, NotFound
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.image import LAYER_TAR, Descriptor, Digest
from notebook_containers.oci.runtime import Mount
from notebook_containers.store.disk import translated
from notebook_containers.store.layers import Layer, LayerStore
from notebook_containers.store.merged import Merged
from notebook_containers.store.overlay import FIXED_OPTIONS, Stack

if TYPE_CHECKING:
    from notebook_containers.store.changes import Change
    from notebook_containers.store.operations import Operation
    from notebook_containers.store.upper import Item

# What packs, compares and edits is imported where it is used: running a container, where milliseconds count, needs none of it.

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")


class Snapshots:
    """``snapshots/<key>/{upper,work,layers}``; thread-safe for different keys. One key belongs to one container or build step."""

    def __init__(self, root: Path, layers: LayerStore) -> None:
        self._root, self._layers = root, layers
        self._disk = layers.disk
        self.rootless = layers.rootless

    def prepare(self, key: str, layers: Sequence[Digest]) -> None:
        """Make an empty writable layer over ``layers`` (bottom first; none: an empty root). Conflict when the key is taken."""
        found = [self._layers.get(layer) for layer in layers]
        final = self._directory(key)
        with self._disk.lease(), self._layers.staged() as directory:
            with translated(directory):
                os.mkdir(directory / "work", 0o700)
                os.mkdir(directory / "upper", 0o700)
                _give_root(directory / "upper", found, rootless=self.rootless)
                (directory / "layers").write_text(json.dumps(layers))
                made = self._disk.publish(directory, final)
            if not made:
                raise Conflict(f"the snapshot {key} exists", hint="remove it first")

    def mounts(self, key: str, *, volatile: bool = False) -> tuple[Mount, ...]:
        """Return what to mount on an empty directory to see the snapshot, writable.

        ``volatile``: what is written is not forced to the disk, so unmounting does not wait for it; after a power cut the snapshot is
        lost. For build steps and for containers that are removed at their end.
        """
        directory, trees = self._existing(key), self._trees(key)
        if not trees:
            return (Mount(destination="/", type="bind", source=str(directory / "upper"), options=("bind", "rw")),)
        work = _work(directory, volatile=volatile)
        options = [_lowers(trees), f"upperdir={_escape(directory / 'upper')}", f"workdir={_escape(work)}", *FIXED_OPTIONS]
        return (self._overlay([*options, *(["volatile"] if volatile else [])]),)

    def view(self, layers: Sequence[Digest]) -> tuple[Mount, ...]:
        """Return what to mount on an empty directory to see the layers (at least one), read-only."""
        trees = [self._layers.get(layer).tree for layer in layers]
        if not trees:
            raise InvalidArgument("there is nothing to see without a layer")
        if len(trees) == 1:  # overlayfs wants two, when none is writable
            return (Mount(destination="/", type="bind", source=str(trees[0]), options=("bind", "ro")),)
        return (self._overlay([_lowers(trees), *FIXED_OPTIONS, "ro"]),)

    def layers(self, key: str) -> tuple[Digest, ...]:
        """Return the layers that the snapshot stands on, bottom first."""
        directory = self._existing(key)
        with translated(directory):
            return tuple(Digest(text) for text in json.loads((directory / "layers").read_text()))

    def changes(self, key: str, *, ignore: Collection[str] = ()) -> list[Change]:
        """Return what differs from the layers below, as ``docker diff`` does. ``ignore`` as for :meth:`commit`."""
        from notebook_containers.store.changes import changes
        from notebook_containers.store.upper import drop_ignored, scan

        with self._below(key) as below, self._upper(key) as upper, translated(self._directory(key)):
            items = scan(upper, userxattr=self.rootless, rootless=self.rootless)
            drop_ignored(items, ignore, below)
            return changes(items, below)

    def commit(self, key: str, *, ignore: Collection[str] = (), epoch: int | None = None) -> Layer | None:
        """Turn the snapshot into a layer, or into None when nothing was changed; the snapshot is gone afterwards.

        It must not be mounted. The archive is deterministic: sorted, whole seconds, no user names, an ordinary user's own id is root;
        times after ``epoch`` (seconds) become it. The upper directory itself becomes the layer's tree.
        Paths in ``ignore`` (a runtime's mount points) are left out where they are empty and did not exist below.
        """
        directory = self._existing(key)
        with self._disk.lease(), self._layers.staged() as staged:
            layer = self._pack(key, ignore, epoch, sanitise=True, staged=staged)
            self._disk.discard(directory)
            return layer

    def copy(self, key: str, *, ignore: Collection[str] = (), epoch: int | None = None) -> Layer | None:
        """Make a layer of the snapshot as it is now, or None; it stays, and may be mounted and running meanwhile (better paused)."""
        self._existing(key)
        with self._disk.lease():
            return self._pack(key, ignore, epoch, sanitise=False, staged=None)

    def usage(self, key: str) -> int:
        """Return the bytes that the snapshot's own files take on the disk."""
        from notebook_containers.store.upper import scan

        with self._upper(key) as upper, translated(self._directory(key)):
            items = scan(upper, userxattr=self.rootless, rootless=self.rootless)
        return sum({(i.status.st_dev, i.status.st_ino): i.status.st_blocks * 512 for i in items}.values())

    def remove(self, key: str) -> None:
        """Take the snapshot away; nothing happens when there is none. It must not be mounted, and nothing durable may name it any more."""
        self._disk.retire(self._directory(key))

    def exists(self, key: str) -> bool:
        """Say whether there is a snapshot of that key."""
        return os.path.isdir(self._directory(key))

    def list(self) -> list[str]:
        """Return all keys, sorted."""
        with translated(self._root):
            return sorted(os.listdir(self._root / "snapshots"))

    def read_file(self, layers: Sequence[Digest], path: str, *, max_bytes: int = 1 << 20, key: str | None = None) -> bytes | None:
        """Return a regular file of the layers (and of the snapshot ``key`` over them), links followed inside; None when there is none.

        OSError EFBIG when it is longer than ``max_bytes``, ELOOP for links in a circle.
        """
        trees = [self._layers.get(layer).tree for layer in layers]
        if key is not None:
            trees.append(self._existing(key) / "upper")
        with Merged(trees, userxattr=self.rootless) as merged:
            return merged.read_file(path, max_bytes=max_bytes)

    def edit(self, key: str, operations: Sequence[Operation]) -> None:
        """Carry out file operations on the snapshot's merged view; it must not be mounted. See :mod:`.edit` for what they do."""
        from notebook_containers.store.edit import edit

        directory = self._existing(key)
        edit(
            Stack(lowers=self._trees(key), upper=directory / "upper", work=_work(directory, volatile=True)),
            operations,
            lambda layers: Stack(lowers=tuple(self._layers.get(layer).tree for layer in layers)),
            rootless=self.rootless,
        )

    def copy_out(self, layers: Sequence[Digest], path: str, directory: Path) -> bool:
        """Fill an empty directory of this machine with what the layers have in the directory ``path``, its owner and mode included.

        For a volume's first use. False when the layers have no such directory; links are followed inside the layers only.
        """
        from notebook_containers.store.edit import edit
        from notebook_containers.store.operations import CopyTree, LayersView

        trees = [self._layers.get(layer).tree for layer in layers]
        with Merged(trees, userxattr=self.rootless) as merged, merged.directory(path) as found:
            status = found.status() if found else None
        if status is None:
            return False
        fill = CopyTree(source=LayersView(layers=tuple(layers)), path=path, destination="/")
        edit(
            Stack(lowers=(), upper=directory),
            [fill],
            lambda wanted: Stack(lowers=tuple(self._layers.get(layer).tree for layer in wanted)),
            rootless=self.rootless,
        )
        with translated(directory):
            if not self.rootless:
                os.chown(directory, status.st_uid, status.st_gid)
            os.chmod(directory, stat.S_IMODE(status.st_mode))
        return True

    # inside

    def _directory(self, key: str) -> Path:
        if not _KEY.match(key):
            raise InvalidArgument(f"{key[:80]!r} is no snapshot key")
        return self._root / "snapshots" / key

    def _existing(self, key: str) -> Path:
        directory = self._directory(key)
        if not os.path.isdir(directory):
            raise NotFound(f"there is no snapshot {key}")
        return directory

    def _trees(self, key: str) -> tuple[Path, ...]:
        return tuple(self._layers.get(layer).tree for layer in self.layers(key))

    def _overlay(self, options: Sequence[str]) -> Mount:
        extra = ("userxattr",) if self.rootless else ()
        return Mount(destination="/", type="overlay", source="overlay", options=(*options, *extra))

    def _below(self, key: str) -> Merged:
        return Merged(self._trees(key), userxattr=self.rootless)

    def _upper(self, key: str) -> SafeRoot:
        return SafeRoot.at(self._existing(key) / "upper")

    def _pack(self, key: str, ignore: Collection[str], epoch: int | None, *, sanitise: bool, staged: Path | None) -> Layer | None:
        from notebook_containers.store.pack import Packing, pack
        from notebook_containers.store.pump import Pump
        from notebook_containers.store.upper import drop_ignored, scan

        upper_path = self._directory(key) / "upper"
        with self._below(key) as below, self._upper(key) as upper, translated(upper_path):
            items = scan(upper, userxattr=self.rootless, rootless=self.rootless)
            drop_ignored(items, ignore, below)
            root = self._changed_root(key, items[0])
            if root is None and not items[0].opaque and not any(item.path and not item.dropped for item in items):
                return None
            own = (os.geteuid(), os.getegid()) if self.rootless else None
            packing = Packing(own_ids=own, userxattr=self.rootless, epoch=epoch, sanitise=sanitise)
            content = self._layers.content
            with content.writer() as blob, Pump(blob.write) as pump:
                warnings = pack(upper, items, pump.put, packing, with_root=root is not None)
            descriptor = Descriptor(media_type=LAYER_TAR, digest=blob.digest, size=blob.size)
        if staged is None:
            return self._layers.apply_blob(descriptor, expected=blob.digest)
        with translated(upper_path):
            os.rename(upper_path, staged / "diff")
        return self._layers.publish(staged, blob.digest, descriptor, blob.size, root=root, warnings=tuple(warnings))

    def _changed_root(self, key: str, item: Item) -> tuple[int, int, int] | None:
        owner = (0, 0) if self.rootless else (item.status.st_uid, item.status.st_gid)
        now = (stat.S_IMODE(item.status.st_mode), *owner)
        return None if now == _root_of([self._layers.get(layer) for layer in self.layers(key)]) else now


def _root_of(layers: Sequence[Layer]) -> tuple[int, int, int]:
    return next((layer.root for layer in reversed(layers) if layer.root is not None), (0o755, 0, 0))


def _give_root(upper: Path, layers: Sequence[Layer], *, rootless: bool) -> None:
    """Give the upper directory what ``/`` has below: overlayfs shows the topmost directory's attributes."""
    mode, uid, gid = _root_of(layers)
    if not rootless:
        os.chown(upper, uid, gid)
    os.chmod(upper, mode)


def _work(directory: Path, *, volatile: bool) -> Path:
    """Return overlay's work directory: the snapshot's own, or a fresh one for a volatile mount.

    overlayfs refuses a work directory that was mounted volatile before, and clearing its mark could hit one that is mounted now.
    """
    if not volatile:
        return directory / "work"
    fresh = directory / f"work-{os.urandom(4).hex()}"
    with translated(directory):
        os.mkdir(fresh, 0o700)
    return fresh


def _lowers(trees: Sequence[Path]) -> str:
    return "lowerdir=" + ":".join(_escape(tree) for tree in reversed(trees))


def _escape(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:")

"""Snapshots: a writable file system over layers. Mounts are returned, never made, except by :meth:`Snapshots.edit`."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.errors import Conflict, Corrupt, DiskFull, Error, InvalidArgument, NotFound
from notebook_containers.oci.image import LAYER_TAR, Descriptor, Digest
from notebook_containers.oci.runtime import Mount
from notebook_containers.store.disk import exhaustion_translated, translated
from notebook_containers.store.failpoints import fp
from notebook_containers.store.fullness import disk_full
from notebook_containers.store.layers import Layer, LayerStore
from notebook_containers.store.overlay import FIXED_OPTIONS, Stack

if TYPE_CHECKING:
    from notebook_containers.store.changes import Change
    from notebook_containers.store.content import BlobWriter, ContentStore
    from notebook_containers.store.operations import Operation
    from notebook_containers.store.pump import Pump
    from notebook_containers.store.trees import PackRequest

# What packs, compares and edits is imported where it is used: running a container, where milliseconds count, needs none of it.

_MOST_LINKS = 40
_REMEMBERED_FILES, _REMEMBERED_BYTES = 64, 1 << 16
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")


class Snapshots:
    """``snapshots/<key>/{upper,work,layers}``; thread-safe for different keys. One key belongs to one container or build step."""

    def __init__(self, root: Path, layers: LayerStore) -> None:
        self._root, self._layers = root, layers
        self._disk, self._files = layers.disk, layers.trees
        self.rootless = layers.rootless
        self._read: dict[tuple[tuple[Digest, ...], str, int], bytes] = {}  # small files of layers, which never change
        self._plain: set[tuple[tuple[Digest, ...], str, int]] = set()  # those of them that no link led to
        self._hides: dict[Path, bool] = {}  # whether a layer's root hides all below: a step over 120 layers asks it of all
        self._stood: tuple[str, tuple[Digest, ...]] = ("", ())  # what was last read, and what it means

    def prepare(self, key: str, layers: Sequence[Digest], *, volatile: bool = False) -> None:
        """Make an empty writable layer over ``layers`` (bottom first; none: an empty root). Conflict when the key is taken.

        ``volatile``: as for :meth:`mounts`, nothing waits for the disk, and a power cut may take it away.
        """
        found = self._layers.get_all(layers)
        final = self._directory(key)
        with self._disk.lease(), self._layers.staged() as directory:
            with translated(directory):
                os.mkdir(directory / "work", 0o700)
                os.mkdir(directory / "upper", 0o700)
                # overlayfs shows the topmost directory's attributes
                self._files.give(directory / "upper", _root_of(found))
                _note(directory / "layers", json.dumps(layers), durable=not volatile)
                made = self._disk.publish(directory, final, durable=not volatile)
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

    def over(self, key: str, directory: Path) -> Mount:
        """Return what to mount to see a directory of this machine with the snapshot, one of no layers, over it: all changes go there."""
        own = self._existing(key)
        words = [f"lowerdir={_escape(directory)}", f"upperdir={_escape(own / 'upper')}", f"workdir={_escape(own / 'work')}"]
        return self._overlay([*words, *FIXED_OPTIONS])

    def show_as(self, key: str, attributes: tuple[int, int, int]) -> None:
        """Give the snapshot's root a mode, user and group: what its topmost directory shows."""
        upper = self._existing(key) / "upper"
        with translated(upper):
            self._files.give(upper, attributes)

    def view(self, layers: Sequence[Digest]) -> tuple[Mount, ...]:
        """Return what to mount on an empty directory to see the layers (at least one), read-only."""
        trees = self._visible(layers)
        if not trees:
            raise InvalidArgument("there is nothing to see without a layer")
        if len(trees) == 1:  # overlayfs wants two, when none is writable
            return (Mount(destination="/", type="bind", source=str(trees[0]), options=("bind", "ro")),)
        return (self._overlay([_lowers(trees), *FIXED_OPTIONS, "ro"]),)

    def stack(self, key: str, *, writable: bool) -> Stack:
        """Return the directories to mount as one: to write (nobody else may have it mounted), or to read, the snapshot's own topmost."""
        directory, trees = self._existing(key), self._trees(key)
        if writable:
            return Stack(lowers=trees, upper=directory / "upper", work=directory / "work")
        return Stack(lowers=(*trees, directory / "upper"))

    def layers(self, key: str) -> tuple[Digest, ...]:
        """Return the layers that the snapshot stands on, bottom first; raises Corrupt where a power cut took that (a volatile one's)."""
        directory = self._existing(key)
        try:
            with translated(directory):
                return self._parsed((directory / "layers").read_text())
        except (ValueError, TypeError) as err:
            raise Corrupt(f"the snapshot {key[:12]} does not tell its layers any more", hint=f"remove it: nbc rm -f {key[:12]}") from err

    def pinned(self) -> set[Digest]:
        """Return the layers that any snapshot stands on; one that is removed meanwhile counts or not, and one that is damaged does not."""
        found: set[Digest] = set()
        for key in self.list():
            try:
                found.update(self.layers(key))
            except Corrupt:
                continue
            except Error:
                if self.exists(key):
                    raise
        return found

    def changes(self, key: str, *, ignore: Collection[str] = ()) -> list[Change]:
        """Return what differs from the layers below, as ``docker diff`` does. ``ignore`` as for :meth:`commit`."""
        upper = self._existing(key) / "upper"
        with translated(upper):
            return self._files.changes(upper, self._trees(key), ignore)

    def layer_changes(self, layers: Sequence[Digest]) -> list[Change]:
        """Return what the last of these layers changes of those before it, as :meth:`changes` does; none for no layers."""
        if not layers:
            return []
        *below, upper = [layer.tree for layer in self._layers.get_all(layers)]
        with translated(upper):
            return self._files.changes(upper, self._visible(layers[:-1]) if below else (), ())

    def commit(self, key: str, *, ignore: Collection[str] = (), epoch: int | None = None) -> Layer | None:
        """Turn the snapshot into a layer, or into None when nothing was changed; the snapshot is gone afterwards.

        It must not be mounted. The archive is deterministic: sorted, no user names, an ordinary user's own id is root;
        times after ``epoch`` (seconds) become it. The upper directory itself becomes the layer's tree.
        Paths in ``ignore`` (a runtime's mount points) are left out where they are empty and did not exist below.
        """
        directory = self._existing(key)
        with self._disk.lease(), self._layers.staged() as staged:
            layer = self._pack(self._request(key, ignore, epoch, take=staged / "diff"), staged)
            self._disk.discard(directory)
            return layer

    def copy(
        self, key: str, *, ignore: Collection[str] = (), epoch: int | None = None, packed: Callable[[int], object] = lambda _bytes: None
    ) -> Layer | None:
        """Make a layer of the snapshot as it is now, or None; it stays, and may be mounted and running meanwhile (better paused).

        ``packed`` is told how many bytes more its archive has.
        """
        from notebook_containers.store.compression import Replayed
        from notebook_containers.store.pump import Written

        self._existing(key)
        request = self._request(key, ignore, epoch)

        def pack(write: Callable[[bytes], object]) -> None:
            def count(piece: bytes) -> None:
                write(piece)
                packed(len(piece))

            with translated(request.upper):
                self._files.pack(request, count)

        with self._disk.lease(), Written(pack) as archive:
            stream = Replayed(archive)  # packed and unpacked at once
            return self._layers.apply(stream) if stream.start(1) else None

    def usage(self, key: str) -> int:
        """Return the bytes that the snapshot's own files take on the disk."""
        upper = self._existing(key) / "upper"
        with translated(upper):
            return self._files.usage(upper)

    def remove(self, *keys: str, beside: Sequence[Path] = ()) -> None:
        """Take snapshots away; nothing happens when there is none. They must not be mounted, and nothing durable may name them any more.

        ``beside`` are other trees of the store that go the same way.
        """
        self._disk.retire(*(self._directory(key) for key in keys), *beside)

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
        trees = [layer.tree for layer in self._layers.get_all(layers)]
        with exhaustion_translated(self._root):
            if key is not None:
                return self._files.read_file([*trees, self._existing(key) / "upper"], path, max_bytes)
            return self._read_layers(tuple(layers), trees, path, max_bytes)

    def _read_layers(self, layers: tuple[Digest, ...], trees: Sequence[Path], path: str, max_bytes: int) -> bytes | None:
        wanted = (layers, path, max_bytes)
        content = self._read.get(wanted)
        if content is None:
            from notebook_containers.store.merged import says_nothing_of

            below = (layers[:-1], path, max_bytes)
            if below in self._plain and says_nothing_of(trees[-1], path, userxattr=self.rootless):
                content, plain = self._read.get(below), True
            else:
                content = self._files.read_file(trees, path, max_bytes)
                plain = content is not None and self._is_plain(trees, path)
            if content is not None and len(content) <= _REMEMBERED_BYTES:
                if len(self._read) >= _REMEMBERED_FILES:
                    self._read.clear()
                    self._plain.clear()
                self._read[wanted] = content
                if plain:
                    self._plain.add(wanted)
        return content

    def _is_plain(self, trees: Sequence[Path], path: str) -> bool:
        """Say whether no link stands on the way to a file."""
        head = ""
        for name in path.strip("/").split("/"):
            found = self._files.find(trees, head, name)
            if found is None or stat.S_ISLNK(found[0]):
                return False
            head = f"{head}/{name}".lstrip("/")
        return True

    def has_directory(self, layers: Sequence[Digest], head: str, name: str) -> bool:
        """Say whether the layers have a directory ``name`` in the directory ``head``; no link is followed."""
        found = self._files.find([layer.tree for layer in self._layers.get_all(layers)], head, name) if layers else None
        return found is not None and stat.S_ISDIR(found[0])

    def edit(self, key: str, operations: Sequence[Operation]) -> None:
        """Carry out file operations on the snapshot's merged view; it must not be mounted. See :mod:`.edit` for what they do."""
        directory = self._existing(key)
        target = Stack(lowers=self._trees(key), upper=directory / "upper", work=_work(directory, volatile=True))
        try:
            self._files.edit(target, operations, self._stack)
        except DiskFull as err:  # it names the path inside
            raise DiskFull(f"{disk_full(errno.ENOSPC, str(directory)).message}; {err.message}", hint=err.hint) from err

    def copy_out(self, layers: Sequence[Digest], path: str, directory: Path) -> bool:
        """Fill an empty directory of this machine with what the layers have in the directory ``path``, its owner and mode included.

        For a volume's first use. False when the layers have no such directory; links are followed inside the layers only.
        """
        from notebook_containers.store.operations import CopyTree, LayersView

        trees = [layer.tree for layer in self._layers.get_all(layers)]
        found = self._files.find(trees, path, "") or self._files.find(trees, self._through_links(trees, path), "")
        if found is None:
            return False
        fill = CopyTree(source=LayersView(layers=tuple(layers)), path=path, destination="/")
        self._files.edit(Stack(lowers=(), upper=directory), [fill], self._stack)
        mode, uid, gid, _ = found
        with translated(directory):
            self._files.give(directory, (stat.S_IMODE(mode), uid, gid))
        return True

    # inside

    def _through_links(self, trees: Sequence[Path], path: str) -> str:
        """Return where a path leads, links followed inside the trees; where it leads to nothing, the path itself."""
        todo, at, links = path.split("/")[::-1], list[str](), 0
        while todo and links <= _MOST_LINKS:
            part = todo.pop()
            if part == "..":
                at[-1:] = []
            elif part not in ("", "."):
                found = self._files.find(trees, "/".join(at), part)
                if found is None:
                    return path
                if stat.S_ISLNK(found[0]):
                    links += 1
                    at = [] if found[3].startswith("/") else at
                    todo += found[3].split("/")[::-1]
                else:
                    at.append(part)
        return path if todo else "/".join(at)

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
        return self._visible(self.layers(key))

    def _visible(self, layers: Sequence[Digest]) -> tuple[Path, ...]:
        return self._shown(self._layers.get_all(layers))

    def _shown(self, layers: Sequence[Layer]) -> tuple[Path, ...]:
        from notebook_containers.store.merged import visible

        trees = [layer.tree for layer in layers]
        with translated(self._root):
            return visible(trees, self._hides_all)

    def _hides_all(self, tree: Path) -> bool:
        from notebook_containers.store.merged import hides_all

        found = self._hides.get(tree)
        if found is None:
            found = self._hides[tree] = hides_all(tree, userxattr=self.rootless)
        return found

    def _parsed(self, text: str) -> tuple[Digest, ...]:
        stood = self._stood
        if text != stood[0] or not text:
            stood = self._stood = (text, tuple(Digest(one) for one in json.loads(text)))
        return stood[1]

    def _overlay(self, options: Sequence[str]) -> Mount:
        extra = ("userxattr",) if self.rootless else ()
        return Mount(destination="/", type="overlay", source="overlay", options=(*options, *extra))

    def _stack(self, layers: Sequence[Digest]) -> Stack:
        return Stack(lowers=self._visible(layers))

    def _request(self, key: str, ignore: Collection[str], epoch: int | None, *, take: Path | None = None) -> PackRequest:
        from notebook_containers.store.trees import PackRequest

        layers = self._layers.get_all(self.layers(key))
        upper, below = self._directory(key) / "upper", self._shown(layers)
        return PackRequest(upper=upper, below=below, root=_root_of(layers), ignore=frozenset(ignore), epoch=epoch, take=take)

    def _pack(self, request: PackRequest, staged: Path) -> Layer | None:
        with ExitStack() as stack:
            blob = _LateBlob(self._layers.content, stack)
            with translated(request.upper):
                packed = self._files.pack(request, blob.put)
        if packed is None:
            return None
        descriptor = blob.descriptor()
        return self._layers.publish(staged, descriptor.digest, descriptor, descriptor.size, root=packed.root, warnings=packed.warnings)


class _LateBlob:
    """A blob that begins with its first byte: none is made when there is nothing to pack. It is whole when ``stack`` is closed."""

    def __init__(self, content: ContentStore, stack: ExitStack) -> None:
        self._content, self._stack = content, stack
        self._blob: BlobWriter | None = None
        self._pump: Pump | None = None

    def put(self, piece: bytes) -> None:
        """Take the next bytes."""
        if self._pump is None:
            from notebook_containers.store.pump import Pump

            self._blob = self._stack.enter_context(self._content.writer())
            self._pump = self._stack.enter_context(Pump(self._blob.write))
        self._pump.put(piece)

    def descriptor(self) -> Descriptor:
        """Return the finished blob's descriptor; only when there is one."""
        assert self._blob is not None
        return Descriptor(media_type=LAYER_TAR, digest=self._blob.digest, size=self._blob.size)


def _note(path: Path, text: str, *, durable: bool) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        fp("snapshots.prepare.before_fsync")
        if durable:
            os.fsync(file.fileno())


def _root_of(layers: Sequence[Layer]) -> tuple[int, int, int]:
    return next((layer.root for layer in reversed(layers) if layer.root is not None), (0o755, 0, 0))


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

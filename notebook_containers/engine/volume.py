"""One volume: docker-py's model, and its files as bytes and archives, whatever the containers that have it do meanwhile."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from notebook_containers.engine import volume_backing
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.engine.volume_options import ANONYMOUS, Backing, backing
from notebook_containers.errors import Error, InvalidArgument, NotFound
from notebook_containers.oci.documents import JSON
from notebook_containers.store import volumes as stored

if TYPE_CHECKING:
    from notebook_containers.oci.image import Digest
    from notebook_containers.store.overlay import Stack

_MOST = 1 << 30
_SHOWN = 10


class Volume:
    """A volume as it was when it was asked for; its files are always those of now.

    Containers write there, so no path in it is believed: links lead to places in the volume only, as they do for a process in it.
    """

    driver = "local"

    def __init__(self, parts: Parts, record: stored.Volume) -> None:
        self._parts, self.record = parts, record

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def id(self) -> str:
        """Its name: a volume has no other identity."""
        return self.record.name

    @property
    def short_id(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def created(self) -> float:
        """When it was made, in seconds since 1970 UTC."""
        return self.record.created

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.record.labels

    @property
    def options(self) -> Mapping[str, str]:
        """The driver's options that it was made with."""
        return self.record.options

    @property
    def anonymous(self) -> bool:
        """Whether nobody gave it a name."""
        return ANONYMOUS in self.record.labels

    @property
    def mountpoint(self) -> Path:
        """Docker's ``Mountpoint``: the volume's own directory (its files lie elsewhere when the options say so, see :attr:`path`)."""
        return self.record.path

    @property
    def backing(self) -> Backing:
        """What its files lie on."""
        return backing(self.record.options)

    @property
    def path(self) -> Path:
        """The directory with its files on this machine; containers may write there at any time."""
        return volume_backing.place(self._parts, self.record)

    @property
    def attrs(self) -> dict[str, JSON]:
        """The volume in the Engine API's shape; ``UsageData`` is measured now."""
        return {
            "CreatedAt": rfc3339(self.created),
            "Driver": self.driver,
            "Labels": dict(sorted(self.labels.items())),
            "Mountpoint": str(self.mountpoint),
            "Name": self.name,
            "Options": dict(sorted(self.options.items())),
            "Scope": "local",
            "UsageData": {"Size": self.size(), "RefCount": len(self.containers())},
        }

    def containers(self) -> Sequence[str]:
        """Return the names of the containers that have it, running or not."""
        return volume_backing.users(self._parts, self.name)

    def notes(self) -> Sequence[str]:
        """Return in words what of its options is weaker here than it looks."""
        return volume_backing.notes(self._parts, self.record)

    def size(self) -> int:
        """Return the bytes that its files take on the disk (or in memory); 0 where another directory of this machine is bound."""
        from notebook_containers.store.usage import tree_bytes

        if self.backing.kind == "bind":
            return 0
        return tree_bytes(self.path, closed=self._parts.store.trees.usage)

    def read(self, path: str | os.PathLike[str], *, max_bytes: int = _MOST) -> bytes:
        """Return the bytes of a regular file; NotFound when there is none, InvalidArgument for anything else or a longer file."""
        self.ready()
        try:
            return self._parts.store.trees.read_live(self.path, os.fspath(path), max_bytes)
        except OSError as err:
            raise self._explained(err, os.fspath(path)) from err

    def names(self, path: str | os.PathLike[str] = "/") -> Sequence[str]:
        """Return the names in a directory of it, sorted; NotFound when there is no such directory."""
        self.ready()
        try:
            return self._parts.store.trees.names_live(self.path, os.fspath(path))
        except OSError as err:
            raise self._explained(err, os.fspath(path)) from err

    def _explained(self, err: OSError, path: str) -> Error:
        reason = (err.strerror or str(err)).rpartition(": ")[2].lower()
        if err.errno == errno.EFBIG:
            return InvalidArgument(f"{path} in volume {self.name} has {reason}", hint="give a larger max_bytes, or use export()")
        if err.errno in (errno.ENOENT, errno.ENOTDIR):
            near = ", ".join(self.names()[:_SHOWN]) if path.strip("/") else ""
            return NotFound(f"there is no {path} in volume {self.name}", hint=f"it has: {near}" if near else "it is empty")
        return InvalidArgument(f"{path} in volume {self.name} cannot be read: {reason}")

    def write(self, path: str | os.PathLike[str], data: bytes, *, mode: int = 0o644) -> None:
        """Put a file of root's there, with missing directories; what stood under the name is replaced, a link is not followed."""
        from notebook_containers.store.operations import WriteFile
        from notebook_containers.store.overlay import Stack

        self.ready()
        self._parts.store.trees.edit(Stack(lowers=(), upper=self.path), [WriteFile(path=os.fspath(path), data=data, mode=mode)], _no_layers)

    def export(self) -> Iterator[bytes]:
        """Return all its files as a tar stream with the owners they have inside; nothing outside is in it, whatever links there are."""
        from notebook_containers.engine import archive

        self.ready()
        return archive.export_directory(self._parts, self.path, f"volume {self.name}")

    def import_archive(self, data: bytes | BinaryIO | Iterator[bytes]) -> Sequence[str]:
        """Unpack a tar (plain, gzip, bzip2, xz or zstd) in it; files of the same name are replaced, others stay. Returns warnings."""
        from notebook_containers.engine import copying

        self.ready()
        return copying.put_in_directory(self._parts, self.path, f"volume {self.name}", data)

    def ready(self) -> None:
        """Make sure that what its options name is there; raises InvalidArgument or Unsupported saying what is missing."""
        volume_backing.ready(self._parts, self.record)

    def remove(self, *, force: bool = False) -> None:
        """Delete it and the bytes in it; Conflict while a container has it, and nothing happens with ``force`` when it is gone already."""
        from notebook_containers.engine.volumes import Volumes

        Volumes(self._parts).remove(self.name, force=force)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Volume) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<Volume: {self.name}>"


def _no_layers(layers: Sequence[Digest]) -> Stack:
    raise NotFound(f"no layers: {list(layers)}")

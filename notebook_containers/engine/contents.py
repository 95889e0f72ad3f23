"""A container's files, as docker-py's ``Container`` gives and takes them; a base of :class:`~.container.Container`.

What does the work is imported where it is used: running a container, where milliseconds count, needs none of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from notebook_containers.engine import actors
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import VolumeNotFound
from notebook_containers.oci.documents import JSON

if TYPE_CHECKING:
    from notebook_containers.engine.image import Image
    from notebook_containers.engine.registries import Progress
    from notebook_containers.engine.volume import Volume


class Contents:
    """What a container holds: read and written safely whether it runs or not, volumes included."""

    id: str
    name: str
    document: ContainerDocument
    _parts: Parts

    def volume(self, name: str) -> Volume:
        """Return one of its volumes, by its name or by the place where it is mounted; VolumeNotFound names those that it has."""
        from notebook_containers.engine.volume import Volume

        places = {point.target.rstrip("/"): point.volume for point in self.document.mounts if point.volume}
        found = places.get(name.rstrip("/"), name)
        if found not in places.values():
            has = ", ".join(f"{volume} at {place}" for place, volume in places.items())
            hint = f"it has {has}" if has else "it has none; give it one with -v NAME:/place"
            raise VolumeNotFound(f"container {self.name} has no volume {name!r}", hint=hint)
        return Volume(self._parts, self._parts.store.volumes.get(found))

    def get_archive(self, path: str) -> tuple[Iterator[bytes], dict[str, JSON]]:
        """Return a path of the container as a tar stream, and its status in docker-py's shape; NotFound when there is none.

        Nothing is read ahead: the container is read while the iterator is consumed. Close the iterator (or end it) to let go.
        """
        from notebook_containers.engine import copying

        taken = copying.take(self._parts, self.id, path)
        actors.tell(self._parts, self.id, "archive-path")
        return taken

    def put_archive(self, path: str, data: bytes | BinaryIO | Iterator[bytes]) -> bool:
        """Unpack a tar (plain, gzip, bzip2, xz or zstd) in the existing directory ``path``; owners are as in the archive."""
        from notebook_containers.engine import copying

        copying.put(self._parts, self.id, path, data)
        actors.tell(self._parts, self.id, "extract-to-dir")
        return True

    def stat_path(self, path: str) -> dict[str, JSON]:
        """Return a path's status in docker-py's shape (``mode`` in Go's bits); NotFound when there is none."""
        from notebook_containers.engine import archive, copying

        return copying.go_stat(archive.stat(self._parts, self.id, path))

    def export(self) -> Iterator[bytes]:
        """Return the whole file system as a tar stream, without what is mounted in it (volumes, /proc, /dev), as ``docker export``."""
        from notebook_containers.engine import archive

        actors.tell(self._parts, self.id, "export")
        return archive.export(self._parts, self.id)

    def copy_to(self, source: str | os.PathLike[str], path: str, *, archive: bool = False, follow: bool = False) -> list[str]:
        """Copy a local file or directory into the container by ``docker cp``'s rules; returns warnings.

        ``archive`` keeps owners, else everything belongs to the container's root; ``follow`` copies what a link leads to. Raises NotFound
        and InvalidArgument as ``docker cp`` refuses, Conflict for what is mounted read-only.
        """
        from notebook_containers.engine import copying

        warnings = copying.to_container(self._parts, self.id, os.fspath(source), path, archive_mode=archive, follow=follow)
        actors.tell(self._parts, self.id, "extract-to-dir")
        return warnings

    def copy_from(self, path: str, target: str | os.PathLike[str], *, archive: bool = False, follow: bool = False) -> list[str]:
        """Copy a file or directory of the container to this machine by ``docker cp``'s rules; returns warnings.

        The files belong to the caller, or with ``archive`` as root to the owners they have in the container. Whatever their names and
        links say, nothing is written outside the target.
        """
        from notebook_containers.engine import copying

        warnings = copying.from_container(self._parts, self.id, path, os.fspath(target), archive_mode=archive, follow=follow)
        actors.tell(self._parts, self.id, "archive-path")
        return warnings

    def commit(
        self,
        repository: str | None = None,
        tag: str | None = None,
        *,
        message: str = "",
        author: str = "",
        pause: bool = True,
        changes: str | Sequence[str] | None = None,
        progress: Progress = None,
    ) -> Image:
        """Make an image of it as it is now, and return that; ``changes`` are lines of a Dockerfile for the image's settings.

        ``progress`` is called with the events of ``registry.progress``, how much is packed. A running container stands still meanwhile
        unless ``pause=False`` or it cannot (:attr:`can_stand_still`). Volumes and what else is mounted are no part of the image.
        """
        from notebook_containers.engine import commit
        from notebook_containers.engine.image import Image
        from notebook_containers.registry.progress import silent

        lines = changes.splitlines() if isinstance(changes, str) else list(changes or ())
        tags = commit.target(repository, tag)
        record = commit.commit(
            self._parts,
            self.document,
            tags=tags,
            message=message,
            author=author,
            pause=pause,
            changes=lines,
            report=progress or silent,
        )
        name = tags[0].familiar() if tags else ""
        if tags:
            self._parts.emit_image("tag", record.id, name)
        actors.tell(self._parts, self.id, "commit", {"comment": message, "imageID": record.id, "imageRef": name})
        return Image(self._parts, record)

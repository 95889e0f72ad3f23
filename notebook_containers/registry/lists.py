"""Manifest lists made here: several images of one registry, one a platform, under one name; kept beside the store until pushed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from notebook_containers.errors import Conflict, Corrupt, ImageNotFound, InvalidArgument, InvalidDocument, InvalidReference
from notebook_containers.lean import dataclass, replace
from notebook_containers.oci.documents import JSON, untrusted_json
from notebook_containers.oci.image import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, Descriptor, Digest, Index, Manifest, Platform
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.attended import attended
from notebook_containers.registry.client import Client, Fetched
from notebook_containers.registry.settings import Settings
from notebook_containers.registry.upload import Upload, mount, push_manifest
from notebook_containers.store.disk import Disk, fsync_directory, make_directory, translated
from notebook_containers.store.images import parse_config, parse_manifest
from notebook_containers.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestList:
    """A list as it is kept: its name, and the images with the names they were added by."""

    name: Reference
    entries: tuple[tuple[str, Descriptor], ...] = ()

    def index(self) -> Index:
        """Return it as it is pushed: Docker's kind when all its images are, else OCI's."""
        docker = bool(self.entries) and all(entry.media_type == DOCKER_MANIFEST for _, entry in self.entries)
        return Index(schema_version=2, media_type=DOCKER_INDEX if docker else INDEX, manifests=tuple(entry for _, entry in self.entries))


class ManifestLists:
    """The lists of one store."""

    def __init__(self, store: Store, *, settings: Settings | None = None) -> None:
        self._disk, self._folder = store.disk, store.root / "manifests"
        self._settings = settings or Settings.read(store.root)

    def create(self, name: Reference, images: Sequence[Reference], *, amend: bool = False) -> ManifestList:
        """Make a list of images that are in their registry; Conflict when there is one of the name, unless ``amend`` adds to it."""
        name = name.new_tag()
        old = self._read(name)
        if old is not None and not amend:
            raise Conflict(
                f"there is a manifest list {name.familiar()}", hint="add to it with --amend, or remove it with 'nbc manifest rm'"
            )
        found = dict((old or ManifestList(name=name)).entries)
        for image in images:
            if image.registry != name.registry:
                raise InvalidArgument(f"{image.familiar()} is not in registry {name.registry}", hint="push it there first")
            found[image.tagged().familiar()] = self._describe(image.tagged())
        made = ManifestList(name=name, entries=tuple(found.items()))
        self._write(made)
        return made

    def annotate(self, name: Reference, image: Reference, platform: Platform) -> ManifestList:
        """Correct what the list says an image runs on; empty parts stay as they are; raises ImageNotFound."""
        made, wanted = self.get(name), image.tagged().familiar()
        entries = dict(made.entries)
        if wanted not in entries:
            raise ImageNotFound(f"{wanted} is not in manifest list {made.name.familiar()}", hint=f"it has {', '.join(entries)}")
        old = entries[wanted].platform or Platform(architecture="")
        new = Platform(
            os=platform.os or old.os,
            architecture=platform.architecture or old.architecture,
            variant=platform.variant or old.variant,
            os_version=platform.os_version or old.os_version,
            os_features=platform.os_features or old.os_features,
        )
        entries[wanted] = replace(entries[wanted], platform=new)
        made = replace(made, entries=tuple(entries.items()))
        self._write(made)
        return made

    def get(self, name: Reference) -> ManifestList:
        """Return a list; raises ImageNotFound."""
        found = self._read(name.tagged())
        if found is None:
            raise ImageNotFound(f"no manifest list {name.tagged().familiar()!r}", hint="make one with 'nbc manifest create'")
        return found

    def names(self) -> list[str]:
        """Return the names of the lists that are kept here, in alphabetical order; a file that is none is passed over."""
        found = []
        for path in self._folder.glob("*.json"):
            with suppress(FileNotFoundError, InvalidDocument, InvalidReference):
                document = untrusted_json(path.read_bytes(), what=str(path))
                found.append(Reference.parse(str(document.get("name"))).familiar())
        return sorted(found)

    def remove(self, name: Reference) -> None:
        """Forget a list (the registry's copy stays); raises ImageNotFound."""
        self.get(name)
        self._disk.discard(self._path(name.tagged()))

    def push(self, name: Reference, *, purge: bool = False) -> Digest:
        """Send the list, and into its repository what other repositories have of its images; ``purge`` forgets it here afterwards."""
        made = self.get(name)
        with Client(name.registry, settings=self._settings) as client:
            digest = attended(lambda: self._send(client, made), client.transport.cut, name="nbc-push")
        if purge:
            self.remove(name)
        return digest

    def inspect(self, name: Reference) -> dict[str, JSON]:
        """Return a list that is kept here, else the manifest or index that the registry has."""
        made = self._read(name.tagged())
        return made.index().to_json() if made is not None else untrusted_json(self._fetch(name.tagged()).data, what=name.familiar())

    def _send(self, client: Client, made: ManifestList) -> Digest:
        for source, entry in made.entries:
            image = Reference.parse(source)
            if image.repository != made.name.repository:
                self._copy(client, image.repository, made.name.repository, entry)
        index = made.index()
        reference = made.name.tag or made.name.digest
        return push_manifest(client, made.name.repository, reference, index.to_bytes(), index.media_type)

    def _copy(self, client: Client, source: str, target: str, entry: Descriptor) -> None:
        fetched = client.manifest(source, entry.digest)
        manifest = parse_manifest(fetched.data)
        for blob in (manifest.config, *manifest.layers):
            there = client.has_blob(target, blob.digest, push=True) or mount(client, target, blob.digest, source)
            if not there:
                upload = Upload(client, target, f"blob {blob.digest.short}")
                upload.send(lambda blob=blob: iter(client.blob(source, blob)), expected=blob.digest)  # type: ignore[misc]
        push_manifest(client, target, entry.digest, fetched.data, fetched.media_type)

    def _fetch(self, image: Reference) -> Fetched:
        with Client(image.registry, settings=self._settings) as client:
            return attended(lambda: client.manifest(image.repository, image.digest or image.tag), client.transport.cut, name="nbc-manifest")

    def _describe(self, image: Reference) -> Descriptor:
        with Client(image.registry, settings=self._settings) as client:
            return attended(lambda: _described(client, image), client.transport.cut, name="nbc-manifest")

    def _path(self, name: Reference) -> Path:
        return self._folder / f"{hashlib.sha256(str(name).encode()).hexdigest()}.json"

    def _read(self, name: Reference) -> ManifestList | None:
        with suppress(FileNotFoundError):
            document = untrusted_json(self._path(name).read_bytes(), what=f"the manifest list {name.familiar()}")
            entries = document.get("entries")
            found = entries.items() if isinstance(entries, dict) else ()
            return ManifestList(name=name, entries=tuple((key, Descriptor.from_json(e)) for key, e in found if isinstance(e, dict)))
        return None

    def _write(self, made: ManifestList) -> None:
        document = {"name": str(made.name), "entries": {key: entry.to_json() for key, entry in made.entries}}
        _replace(self._disk, self._path(made.name), json.dumps(document).encode())


def _described(client: Client, image: Reference) -> Descriptor:
    fetched = client.manifest(image.repository, image.digest or image.tag)
    if fetched.media_type in (INDEX, DOCKER_INDEX):
        raise InvalidArgument(f"{image.familiar()} is a manifest list itself", hint="name the images in it, one by one, by digest")
    manifest = parse_manifest(fetched.data)
    config = parse_config(_config(client, image, manifest))
    platform = Platform(architecture=config.architecture, os=config.os, variant=config.variant)
    return Descriptor(media_type=fetched.media_type, digest=fetched.digest, size=len(fetched.data), platform=platform)


def _config(client: Client, image: Reference, manifest: Manifest) -> bytes:
    from notebook_containers.registry.client import fits
    from notebook_containers.registry.pull import check_parts, wrong_bytes

    check_parts(manifest)
    data = b"".join(client.blob(image.repository, manifest.config))
    if not fits(data, manifest.config.digest):
        raise wrong_bytes(client, Corrupt(f"blob {manifest.config.digest} has other bytes"))
    return data


def _replace(disk: Disk, path: Path, data: bytes) -> None:
    """Put a file in its place in one step, durable when it returns."""
    with disk.lease(), translated(path):
        make_directory(path.parent)
        staged = disk.staged_path()
        fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.replace(staged, path)
        fsync_directory(path.parent)

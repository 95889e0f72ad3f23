"""``load``: images from an archive or a directory of docker, podman, skopeo, umoci or :mod:`.saving`, told apart by what is in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from notebook_containers.engine.holdings import Holdings, InArchive, InDirectory, blob_path, document
from notebook_containers.engine.joining import widened
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import Corrupt, InvalidDocument, InvalidReference, NotFound
from notebook_containers.lean import replace
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.documents import JSON, untrusted_json
from notebook_containers.oci.image import (
    CONFIG,
    DOCKER_INDEX,
    INDEX,
    LAYER_GZIP,
    LAYER_TAR,
    LAYER_TYPES,
    LAYER_ZSTD,
    MANIFEST,
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Manifest,
    Platform,
)
from notebook_containers.oci.platforms import best, host_platform, normal, parse_platform, platform_text
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.progress import Meter, Report, TransferDone, TransferStarted, silent
from notebook_containers.store.compression import compression_of
from notebook_containers.store.images import ImageRecord, parse_config, parse_manifest, platform_of

_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"
_MAX_DEPTH = 2
_DAMAGED = "make or fetch it again"
_LAYER_KINDS = {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD, "": LAYER_TAR}


def load(parts: Parts, stream: BinaryIO, *, named: bool = True, platform: str = "", report: Report = silent) -> list[ImageRecord]:
    """Read an archive from an uncompressed stream; return its images: of an index all that are in it, or the one for ``platform``, which
    joins what its name is here for.

    Every blob is hashed as it comes, and an image is recorded only when its config and layers are what its digests say. Not ``named``:
    the archive's names are passed over. ``report`` hears of each image and its layers, from several threads. InvalidDocument for what is
    no such archive, Corrupt for bytes that lie, NotFound for a platform that is not there, DiskFull; nothing remains then.
    """
    return _kept(parts, lambda: _Loader(parts, InArchive(parts.store.content, stream), platform, named=named, report=report).run())


def load_directory(parts: Parts, place: Path, *, named: bool = True, platform: str = "", report: Report = silent) -> list[ImageRecord]:
    """Read a directory: an OCI image layout, skopeo's ``dir:``, or an unpacked archive of docker; as :func:`load`.

    NotFound when there is no directory.
    """

    def run() -> list[ImageRecord]:
        try:
            opened = SafeRoot.at(place)
        except (FileNotFoundError, NotADirectoryError) as err:
            raise NotFound(f"there is no directory {place}", hint="name one that holds an image layout, or is to be read as one") from err
        with opened as root:
            return _Loader(parts, InDirectory(parts.store.content, root), platform, named=named, report=report).run()

    return _kept(parts, run)


def _kept(parts: Parts, work: Callable[[], list[ImageRecord]]) -> list[ImageRecord]:
    """Do the work under a lease; when it fails, free what it brought."""
    try:
        with parts.store.lease():
            return work()
    except BaseException as err:
        from notebook_containers.store.collect import collect

        collect(parts.store)
        if isinstance(err, InvalidDocument | Corrupt):
            err.hint = err.hint or _DAMAGED
        raise


class _Loader:
    def __init__(self, parts: Parts, held: Holdings, platform: str, *, named: bool, report: Report) -> None:
        self._store, self._held, self._named, self._report = parts.store, held, named, report
        self._wanted = parse_platform(platform) if platform else None

    def run(self) -> list[ImageRecord]:
        if self._held.has("manifest.json"):
            found = untrusted_json(b'{"list":' + self._read("manifest.json") + b"}", what="manifest.json")["list"]
            if isinstance(found, Mapping):
                return [self._dir()]
            if not isinstance(found, list) or not all(isinstance(entry, Mapping) for entry in found):
                raise InvalidDocument("the archive's manifest.json is no list of images")
            if not self._has_platforms():
                return [self._docker(entry) for entry in found if isinstance(entry, Mapping)]
        if self._held.has("index.json"):
            return self._layout()
        hint = "for a plain file system use: nbc import"
        if self._held.has("repositories"):
            hint = "it is of a docker before 1.10: load it there and save it again"
        raise InvalidDocument("the archive holds no image: neither manifest.json nor index.json is in it", hint=hint)

    def _read(self, name: str, what: str = "") -> bytes:
        return document(self._store.content, self._held.find(name), what or name)

    # docker's archive

    def _docker(self, entry: Mapping[str, JSON]) -> ImageRecord:
        config_digest, config_size = self._held.find(str(entry.get("Config")))
        config = parse_config(document(self._store.content, (config_digest, config_size), "config"))
        layers = entry.get("Layers")
        names = [str(layer) for layer in layers] if isinstance(layers, list) else []
        if len(names) != len(config.rootfs.diff_ids):
            raise InvalidDocument(f"the archive's image has {len(names)} layers and its config {len(config.rootfs.diff_ids)}")
        blobs = tuple(self._described(name) for name in names)
        made = Manifest(
            schema_version=2,
            media_type=MANIFEST,
            config=Descriptor(media_type=CONFIG, digest=config_digest, size=config_size),
            layers=blobs,
        )
        tags = entry.get("RepoTags")
        return self._image(made.to_bytes(), made, config, _references(tags if isinstance(tags, list) else []))

    def _described(self, name: str) -> Descriptor:
        digest, size = self._held.find(name)
        with self._store.content.open(digest) as file:
            kind = compression_of(file.read(4))
        if kind not in _LAYER_KINDS:
            raise InvalidDocument(f"layer {name[:100]!a} is compressed as {kind}, which layers are not")
        return Descriptor(media_type=_LAYER_KINDS[kind], digest=digest, size=size)

    # skopeo's dir:

    def _dir(self) -> ImageRecord:
        data = self._read("manifest.json")
        manifest = parse_manifest(data)
        for blob in (manifest.config, *manifest.layers):
            self._same(self._held.find(blob.digest.hex), blob)
        return self._image(data, manifest, parse_config(self._store.content.read(manifest.config.digest)), [])

    # the OCI image layout

    def _layout(self) -> list[ImageRecord]:
        loaded: dict[Digest, ImageRecord] = {}
        for name, entries in self._groups().items():
            tags = _references([name] if ":" in name or "/" in name else [])
            offered = self._offered(entries)
            # an archive may have an index and not all of its images; where none is whole, what is missing is found out later, and named
            whole = [each for each in offered if self._is_whole(each)] or offered
            chosen = self._chosen(whole, name.strip())
            others = [] if self._wanted or not tags else [each for each in whole if each != chosen]
            index = self._index(entries, whole) if tags else b""
            # the one that is used here comes last: the name is its
            for each in (*others, chosen):
                record = self._manifest(each, tags, index)
                loaded[record.id] = record
        return list(loaded.values())

    def _groups(self) -> Mapping[str, Sequence[Descriptor]]:
        """Return the archive's entries by name; several of one name are platforms."""
        groups: dict[str, list[Descriptor]] = {}
        offered = Index.from_json(untrusted_json(self._read("index.json"), what="index.json")).manifests
        if not offered:
            raise InvalidDocument("the archive holds no image: its index.json names none")
        for number, descriptor in enumerate(offered):
            marks = descriptor.annotations
            groups.setdefault(marks.get(_IMAGE_NAME) or marks.get(_REF_NAME, "") or f" {number}", []).append(descriptor)
        return groups

    def _has_platforms(self) -> bool:
        """Tell whether the archive, which has docker's list too, says more in its index: that list knows no platforms."""
        if not self._held.has("index.json"):
            return False
        return any(len(entries) > 1 or entries[0].media_type in (INDEX, DOCKER_INDEX) for entries in self._groups().values())

    def _is_whole(self, entry: Descriptor) -> bool:
        """Tell whether an entry of an index is in the archive with all its parts: an archive may have an index and one image of it."""
        if not self._held.has(blob_path(entry.digest)):
            return False
        manifest = parse_manifest(self._blob(entry, "manifest"))
        return all(self._held.has(blob_path(blob.digest)) for blob in (manifest.config, *manifest.layers))

    def _index(self, entries: Sequence[Descriptor], images: Sequence[Descriptor]) -> bytes:
        """Return the index that the images are of: the archive's own, else one of them; nothing for an image alone."""
        if len(entries) == 1 and entries[0].media_type in (INDEX, DOCKER_INDEX):
            return self._blob(entries[0], "index")
        if len(images) == 1:
            return b""
        plain = tuple(replace(each, annotations={}, platform=self._platform(each)) for each in images)
        return Index(schema_version=2, media_type=INDEX, manifests=plain).to_bytes()

    def _chosen(self, offered: Sequence[Descriptor], name: str) -> Descriptor:
        """Return the manifest to load of those that have one name (several are platforms); NotFound when none fits."""
        fitting = best(offered, self._wanted or host_platform())
        if fitting is not None:
            return fitting
        if self._wanted is None and len(offered) == 1:
            return offered[0]
        there = ", ".join(sorted({platform_text(normal(each.platform)) for each in offered if each.platform})) or "nothing"
        wanted = platform_text(normal(self._wanted or host_platform()))
        raise NotFound(
            f"{name or 'the image'} is not in the archive for {wanted}", hint=f"it is there for {there}: give one with --platform"
        )

    def _offered(self, entries: Sequence[Descriptor]) -> Sequence[Descriptor]:
        """Return the images that entries lead to, each with its platform."""
        manifests = [m for entry in entries for m in self._manifests(entry, depth=0)]
        known = [replace(each, platform=self._platform(each)) for each in manifests]
        return [each for each in known if each.platform is not None and each.platform.architecture != "unknown"]  # that is no image

    def _manifests(self, entry: Descriptor, *, depth: int) -> list[Descriptor]:
        if entry.media_type not in (INDEX, DOCKER_INDEX):
            return [entry]
        if depth == _MAX_DEPTH:
            raise InvalidDocument(f"the archive's indexes lie more than {_MAX_DEPTH} deep in each other")
        inner = Index.from_json(untrusted_json(self._blob(entry, "index"), what="index")).manifests
        return [m for each in inner for m in self._manifests(each, depth=depth + 1)]

    def _platform(self, entry: Descriptor) -> Platform:
        if entry.platform is not None:
            return entry.platform
        return platform_of(self._config(parse_manifest(self._blob(entry, "manifest"))))

    def _manifest(self, descriptor: Descriptor, tags: Sequence[Reference], index: bytes) -> ImageRecord:
        data = self._blob(descriptor, "manifest")
        manifest = parse_manifest(data)
        for layer in manifest.layers:
            self._same(self._held.find(blob_path(layer.digest)), layer)
        return self._image(data, manifest, self._config(manifest), tags, index)

    def _config(self, manifest: Manifest) -> ImageConfig:
        return parse_config(self._blob(manifest.config, "config"))

    def _blob(self, descriptor: Descriptor, what: str) -> bytes:
        found = self._held.find(blob_path(descriptor.digest))
        self._same(found, descriptor)
        return document(self._store.content, found, what)

    @staticmethod
    def _same(found: tuple[Digest, int], said: Descriptor) -> None:
        if found != (said.digest, said.size):
            raise Corrupt(f"blob {said.digest.short} is another one in the archive: {found[0].short}, {found[1]} bytes")

    # every kind

    def _image(self, data: bytes, manifest: Manifest, config: ImageConfig, tags: Sequence[Reference], index: bytes = b"") -> ImageRecord:
        own = platform_of(config)
        if self._wanted is not None and best([replace(manifest.config, platform=own)], self._wanted) is None:
            hint = f"it is there for {platform_text(normal(own))}"
            raise NotFound(f"the image is not in the archive for {platform_text(normal(self._wanted))}", hint=hint)
        diff_ids = config.rootfs.diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise InvalidDocument(f"the archive's manifest has {len(manifest.layers)} layers, its config {len(diff_ids)}")
        for layer in manifest.layers:
            if layer.media_type not in LAYER_TYPES:
                raise InvalidDocument(f"layer {layer.digest.short} is of a kind that cannot be unpacked: {layer.media_type[:80]!a}")
        name = ", ".join(tag.familiar() for tag in tags) or manifest.config.digest.short
        blobs = tuple((blob.digest, blob.size) for blob in manifest.layers)
        self._report(TransferStarted(name=name, direction="load", platform=platform_text(normal(own)), blobs=blobs))
        changed = self._unpack(dict(zip(diff_ids, manifest.layers, strict=True)))
        kind = manifest.media_type or MANIFEST
        described = Descriptor(media_type=kind, digest=Digest.of(data), size=len(data), platform=own)
        record = self._recorded(data, described, tags if self._named else (), index)
        self._report(TransferDone(name=name, manifest=record.manifest_digest, changed=changed))
        return record

    def _recorded(self, data: bytes, described: Descriptor, tags: Sequence[Reference], index: bytes) -> ImageRecord:
        """Record the image; one that was asked for by its platform joins what its names are here for, others take the names."""
        images = self._store.images
        joined = {tag: widened(self._store, tag, described, index) for tag in tags} if self._wanted else {}
        alone = [tag for tag in tags if not joined.get(tag)]
        record = images.put_manifest(data, tags=alone, index=index if alone else b"")
        for tag, made in joined.items():
            if made:
                images.add_variant(record.id, tag, made)
        return images.get(record.id) if joined else record

    def _unpack(self, layers: Mapping[Digest, Descriptor]) -> bool:
        """Unpack layers beside each other, as many at once as there are processors; tells whether any was not here yet."""
        meters = {diff_id: Meter(self._report, blob.digest, blob.size) for diff_id, blob in layers.items()}
        for meter in meters.values():
            meter.phase("waiting")
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="nbc-unpack") as pool:
            jobs = [pool.submit(self._unpack_one, diff_id, blob, meters[diff_id]) for diff_id, blob in layers.items()]
            try:
                return sum(job.result() for job in jobs) > 0
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _unpack_one(self, diff_id: Digest, blob: Descriptor, meter: Meter) -> bool:
        if self._store.layers.has(diff_id):
            meter.phase("exists", done=blob.size)
            return False
        meter.phase("extracting")
        self._store.layers.apply_blob(blob, expected=diff_id)
        meter.phase("done", done=blob.size)
        return True


def _references(names: Sequence[JSON]) -> list[Reference]:
    found = []
    for name in names:
        try:
            found.append(Reference.parse(str(name)).tagged())
        except InvalidReference:
            continue  # an archive may name an image as it likes; one without a name we can use is loaded without
    return found

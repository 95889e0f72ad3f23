"""Pull: an image from a registry into the store.

The image becomes visible by the last step, its record. Layers come in one pass (network, digest, blob file, decompression, tree, diff_id),
several at once; each is private until it is complete. What an interrupted pull had whole stays, unreferenced, for the next try until a
collection. Two processes that want the same layer fetch it once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

from notebook_containers.errors import Corrupt, InvalidDocument, RegistryError
from notebook_containers.lean import replace
from notebook_containers.oci.documents import MAX_DOCUMENT_BYTES, untrusted_json
from notebook_containers.oci.image import DOCKER_INDEX, INDEX, LAYER_TYPES, Descriptor, Digest, ImageConfig, Index, Manifest, Platform
from notebook_containers.oci.platforms import best, host_platform, normal, platform_text
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.ahead import Arriving, ahead
from notebook_containers.registry.attended import attended, side_by_side
from notebook_containers.registry.client import BlobReader, Client, Fetched
from notebook_containers.registry.listing import tags
from notebook_containers.registry.patience import Stopped
from notebook_containers.registry.progress import Meter, Report, TransferDone, TransferNote, TransferStarted, silent
from notebook_containers.registry.settings import Settings
from notebook_containers.store.images import ImageRecord, parse_config, parse_manifest
from notebook_containers.store.locks import owners
from notebook_containers.store.store import Store

_MAX_INDEX_ENTRIES = 1000
_MOST_NAMES = 20
PARALLEL = 3


def pull(
    store: Store, reference: Reference, platform: Platform | None = None, report: Report = silent, *, settings: Settings | None = None
) -> ImageRecord:
    """Bring an image into the store and give it its name; blobs and layers that are here are not fetched again.

    Without ``platform`` it is this machine's. What is here counts only where the registry lets us have it too (REG-14). Raises
    RegistryError (not there, refused, wrong bytes), InvalidDocument (not an image), DiskFull; then no image is recorded.
    """
    stop = threading.Event()
    with _sources(store, reference, stop, settings, report) as sources, store.lease():
        work = _Pull(store, sources, reference.tagged(), platform, report)
        return attended(work.run, work.cut, name="nbc-pull")


def pull_all(
    store: Store, reference: Reference, platform: Platform | None = None, report: Report = silent, *, settings: Settings | None = None
) -> list[ImageRecord]:
    """Bring every tag of a repository; tags that are no image for the platform are told and left out, any other failure ends it."""
    with Client(reference.registry, settings=settings or Settings.read(store.root)) as client:
        found = attended(lambda: tags(client, reference.repository), client.transport.cut, name="nbc-tags")
    records, failures = [], []
    for tag in found:
        try:
            records.append(pull(store, replace(reference, tag=tag, digest=""), platform, report, settings=settings))
        except (InvalidDocument, PlatformMissing) as err:
            failures.append(err)
            report(TransferNote(message=f"{reference.familiar_name()}:{tag} is left out: {err.message}"))
    if failures and not records:
        raise failures[0]
    return records


class PlatformMissing(RegistryError):
    """There is an image, for other platforms only."""


class _Sources:
    """The mirrors of a registry and the registry itself: each is asked when those before it cannot help."""

    def __init__(self, clients: Sequence[Client], report: Report) -> None:
        self._clients, self._report = list(clients), report
        self._serving = self._clients[-1]
        self._told: set[str] = set()

    def cut(self) -> None:
        """End every request."""
        for client in self._clients:
            client.transport.cut()

    def manifest(self, repository: str, reference: str) -> Fetched:
        """Return the first answer; the failures of mirrors are told, that of the registry is raised."""
        for client in self._clients[:-1]:
            try:
                found = client.manifest(repository, reference)
            except Stopped:
                raise
            except (RegistryError, InvalidDocument) as err:
                self._tell(client, err)
            else:
                self._serving = client
                return found
        self._serving = self._clients[-1]
        return self._serving.manifest(repository, reference)

    def may_have(self, repository: str, digest: Digest) -> None:
        """Raise RegistryError unless who gave us the manifest would give us the blob."""
        client = self._serving
        if not client.has_blob(repository, digest):
            raise RegistryError(
                f"registry {client.registry} does not have blob {digest.short} of {repository}",
                hint="the image there is incomplete: push it again",
            )

    def one_after_the_other(self, use: Callable[[Client], None]) -> None:
        """Call ``use`` with one client after the other until it succeeds."""
        for client in self._clients[:-1]:
            try:
                return use(client)
            except Stopped:
                raise
            except (RegistryError, Corrupt) as err:
                self._tell(client, err)
        return use(self._clients[-1])

    def _tell(self, client: Client, err: Exception) -> None:
        if client.registry not in self._told:
            self._told.add(client.registry)
            self._report(TransferNote(message=f"the mirror {client.registry} cannot be used: {err}"))


@contextmanager
def _sources(store: Store, reference: Reference, stop: threading.Event, settings: Settings | None, report: Report) -> Iterator[_Sources]:
    settings = settings or Settings.read(store.root)
    said = settings.host(reference.registry)
    for name in (*said.mirrors, reference.registry):
        if settings.host(name).insecure:
            report(TransferNote(message=f"the certificate of {name} is not checked (registries.toml says so)"))
    with ExitStack() as stack:
        names = (*said.mirrors, reference.registry)
        clients = [stack.enter_context(Client(name, settings=settings, stop=stop)) for name in names]
        yield _Sources(clients, report)


class _Pull:
    def __init__(self, store: Store, sources: _Sources, reference: Reference, platform: Platform | None, report: Report) -> None:
        self._store, self._sources, self._reference, self._report = store, sources, reference, report
        self._repository = reference.repository
        self._platform = platform or host_platform()
        self._asked = platform is not None
        self._stop = threading.Event()
        self._changed = False

    def run(self) -> ImageRecord:
        reference = self._reference
        top = self._sources.manifest(self._repository, reference.digest or reference.tag)
        fetched = _choose(self._sources, reference, top, self._platform)
        manifest = parse_manifest(fetched.data)
        check_parts(manifest)
        blobs = tuple({b.digest: (b.digest, b.size) for b in (manifest.config, *manifest.layers)}.values())
        self._report(
            TransferStarted(
                name=reference.familiar(),
                direction="pull",
                platform=platform_text(self._platform),
                manifest=fetched.digest,
                blobs=blobs,
            )
        )
        proven = self._is_proven(Digest.of(fetched.data))
        self._bring(manifest, proven=proven, indexed=top is not fetched)
        names = [replace(reference, tag="", digest=str(top.digest))]
        if not reference.digest:
            names.insert(0, reference)
        record = self._store.images.put_manifest(fetched.data, tags=names, index=b"" if top is fetched else top.data)
        self._report(TransferDone(name=reference.familiar(), manifest=top.digest, changed=self._changed))
        return record

    def _is_proven(self, manifest: Digest) -> bool:
        """Tell whether this manifest came from this repository before: then the registry let us have its parts."""
        prefix = f"{self._reference.familiar_name()}@"
        return any(
            image.manifest_digest == manifest and any(name.startswith(prefix) for name in image.digests)
            for image in self._store.images.list()
        )

    def _bring(self, manifest: Manifest, *, proven: bool, indexed: bool) -> None:
        config = self._config(manifest.config, proven=proven)
        diff_ids = config.rootfs.diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise InvalidDocument(f"image {self._repository} has {len(manifest.layers)} layers and its config names {len(diff_ids)}")
        self._check_platform(config, indexed=indexed)
        parts = dict(zip(diff_ids, manifest.layers, strict=True))
        meters = {diff_id: Meter(self._report, blob.digest, blob.size) for diff_id, blob in parts.items()}
        for meter in meters.values():
            meter.phase("waiting")
        tasks = [self._task(diff_id, blob, meters[diff_id], proven) for diff_id, blob in parts.items()]
        side_by_side(tasks, most=PARALLEL, cut=self.cut, name="nbc-layer")

    def cut(self) -> None:
        """End every request, every wait for another process, and what is being unpacked."""
        self._stop.set()
        self._sources.cut()

    def _task(self, diff_id: Digest, blob: Descriptor, meter: Meter, proven: bool) -> Callable[[], None]:
        return lambda: self._layer(diff_id, blob, meter, proven=proven)

    def _check_platform(self, config: ImageConfig, *, indexed: bool) -> None:
        """Refuse an image that is for another platform than the index, or the user, says."""
        own = normal(Platform(architecture=config.architecture, os=config.os, variant=config.variant))
        wanted = normal(self._platform)
        if (own.os, own.architecture) == (wanted.os, wanted.architecture):
            return
        name = self._reference.familiar()
        if indexed:
            raise InvalidDocument(f"the index of {name} says {platform_text(wanted)}, and the image itself {platform_text(own)}")
        if self._asked:
            raise missing(name, wanted, [own])
        self._report(TransferNote(message=f"image {name} is for {platform_text(own)}, this machine is {platform_text(wanted)}"))

    def _config(self, blob: Descriptor, *, proven: bool) -> ImageConfig:
        if self._here(blob, proven=proven):
            try:
                return parse_config(self._store.content.read(blob.digest))
            except Corrupt:
                self._store.content.remove(blob.digest)
        self._changed = True
        meter = Meter(silent, blob.digest, blob.size)
        self._sources.one_after_the_other(lambda client: self._fetch(client, blob, meter))
        return parse_config(self._store.content.read(blob.digest))

    def _layer(self, diff_id: Digest, blob: Descriptor, meter: Meter, *, proven: bool) -> None:
        def waiting(pids: Sequence[int]) -> None:
            who = owners(pids) or "another process"
            self._report(TransferNote(message=f"layer {diff_id.short} is being fetched by {who} too: waiting for that"))

        with self._store.disk.turn(f"{blob.digest.algorithm}-{blob.digest.hex}", self._stop, waiting):
            if self._store.layers.has(diff_id):
                if not proven:
                    self._sources.may_have(self._repository, blob.digest)
                meter.phase("exists", done=blob.size)
                return
            self._changed = True
            if not self._unpack(diff_id, blob, meter, proven=proven):
                self._sources.one_after_the_other(lambda client: self._stream(client, diff_id, blob, meter))
            meter.phase("done", done=blob.size)

    def _here(self, blob: Descriptor, *, proven: bool) -> bool:
        """Tell whether the store has a blob that the registry would give us too."""
        here = self._store.content.has(blob.digest)
        if here and not proven:
            self._sources.may_have(self._repository, blob.digest)
        return here

    def _unpack(self, diff_id: Digest, blob: Descriptor, meter: Meter, *, proven: bool) -> bool:
        """Make the layer of a blob that is here; False when there is none, or a damaged one, which is taken away."""
        if not self._here(blob, proven=proven):
            return False
        meter.phase("extracting", done=blob.size)
        try:
            self._store.layers.apply_blob(blob, expected=diff_id)
        except Corrupt:
            self._store.content.remove(blob.digest)
            return False
        return True

    def _stream(self, client: Client, diff_id: Digest, blob: Descriptor, meter: Meter) -> None:
        """Make the layer while its blob arrives."""

        def receive(pieces: Generator[bytes, None, None]) -> None:
            source = Arriving(ahead(pieces), at_end=lambda: meter.phase("verifying", done=blob.size))
            with closing(source):
                self._store.layers.apply_stream(source, blob, expected=diff_id)

        self._whole(client, blob, meter, receive)

    def _fetch(self, client: Client, blob: Descriptor, meter: Meter) -> None:
        """Bring a small blob into the store."""

        def receive(pieces: Generator[bytes, None, None]) -> None:
            with closing(pieces), self._store.content.writer(expected=blob.digest, size=blob.size) as writer:
                for piece in pieces:
                    writer.write(piece)

        self._whole(client, blob, meter, receive)

    def _whole(self, client: Client, blob: Descriptor, meter: Meter, receive: Callable[[Generator[bytes, None, None]], None]) -> None:
        """Have a blob received; bytes of several answers that do not fit together are fetched once more, in one."""
        for last in (False, True):
            reader = client.blob(self._repository, blob)
            meter.phase("downloading", done=0)
            try:
                receive(self._pieces(reader, meter, blob))
            except Corrupt as err:
                if last or reader.parts < 2:
                    raise wrong_bytes(client, err) from err
            else:
                return

    def _pieces(self, reader: BlobReader, meter: Meter, blob: Descriptor) -> Generator[bytes, None, None]:
        for piece in reader:
            if self._stop.is_set():
                raise Stopped("the transfer was stopped")
            meter.add(len(piece))
            yield piece
        meter.phase("extracting", done=blob.size)


def wrong_bytes(client: Client, err: Corrupt) -> RegistryError:
    """Return the error that says a registry lies, or whatever stands between."""
    return RegistryError(f"registry {client.registry} sent wrong bytes: {err}", hint="the registry, or a proxy before it, is broken")


def missing(name: str, wanted: Platform, there: Sequence[Platform]) -> PlatformMissing:
    """Return the error that names the platforms there are."""
    names = sorted({platform_text(each) for each in there})
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    hint = f"it exists for {', '.join(names[:_MOST_NAMES]) or 'nothing'}{more}"
    return PlatformMissing(f"image {name} does not exist for {platform_text(wanted)}", hint=hint)


def _choose(sources: _Sources, reference: Reference, fetched: Fetched, platform: Platform) -> Fetched:
    """Follow one index to the manifest for the platform; an index in an index is refused."""
    if fetched.media_type not in (INDEX, DOCKER_INDEX):
        return fetched
    name = reference.familiar()
    index = parse_index(fetched.data, name)
    known = [e for e in index.manifests if e.platform is not None and e.platform.architecture != "unknown"]
    entry = best(known, platform)
    if entry is None:
        raise missing(name, platform, [e.platform for e in known if e.platform is not None])
    chosen = sources.manifest(reference.repository, entry.digest)
    if chosen.media_type in (INDEX, DOCKER_INDEX):
        raise InvalidDocument(f"the index of {name} leads to another index")
    if len(chosen.data) != entry.size:
        raise InvalidDocument(f"the index of {name} says {entry.size} bytes of a manifest that has {len(chosen.data)}")
    return chosen


def parse_index(data: bytes, what: str) -> Index:
    """Parse an index from outside; InvalidDocument for one that could be read as an image too, or has too many entries."""
    raw = untrusted_json(data, what=f"the index of {what}")
    if "layers" in raw or "config" in raw:
        raise InvalidDocument(f"the index of {what} has layers too: it is made to be read both ways")
    index = Index.from_json(raw)
    if len(index.manifests) > _MAX_INDEX_ENTRIES:
        raise InvalidDocument(f"the index of {what} has {len(index.manifests)} entries, more than the {_MAX_INDEX_ENTRIES} allowed")
    return index


def check_parts(manifest: Manifest) -> None:
    """Raise InvalidDocument for parts that cannot be an image's: sizes below zero, a huge config, layers of an unknown kind."""
    if manifest.config.size > MAX_DOCUMENT_BYTES:
        raise InvalidDocument(f"the image's config is {manifest.config.size} bytes, more than the {MAX_DOCUMENT_BYTES} allowed")
    for blob in (manifest.config, *manifest.layers):
        if blob.size < 0:
            raise InvalidDocument(f"blob {blob.digest.short} has a negative size")
    for layer in manifest.layers:
        if layer.media_type not in LAYER_TYPES:
            raise InvalidDocument(f"layer {layer.digest.short} is of a kind that cannot be unpacked: {layer.media_type[:80]!r}")

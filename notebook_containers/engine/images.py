"""``engine.images``: build, find, tag and remove images; docker-py's verbs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from notebook_containers.engine import limit_words, registries, words
from notebook_containers.engine.image import BuildResult, Image
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import Error, ImageNotFound, InvalidArgument
from notebook_containers.oci.image import Digest, ImageConfig
from notebook_containers.oci.platforms import parse_platform
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord, PlatformNotHere

if TYPE_CHECKING:
    from notebook_containers.build.calls import Look
    from notebook_containers.build.progress import Event
    from notebook_containers.engine import saving
    from notebook_containers.engine.build_cache import CacheWord
    from notebook_containers.engine.filters import Filters
    from notebook_containers.engine.networks import Networks
    from notebook_containers.engine.opened import FailedStep
    from notebook_containers.engine.outputs import Output
    from notebook_containers.registry.listing import Found


BUILD_NETWORKS = ("default", "none", "host")


class Images:
    """The images of one engine."""

    def __init__(self, parts: Parts, networks: Networks) -> None:
        self._parts, self._networks = parts, networks

    def get(self, name: str) -> Image:
        """Return an image by name, id or id prefix, making an embedded base when that is what is named; raises ImageNotFound."""
        return Image(self._parts, self.obtain(name))

    def find(self, name: str) -> Image:
        """Return an image the store has, without making one; raises ImageNotFound."""
        return Image(self._parts, self._parts.store.images.resolve(name))

    def list(self, name: str | None = None, *, all: bool = False, filters: Filters | None = None) -> list[Image]:  # noqa: ARG002
        """Return images, newest first; with ``name`` those of that repository or pattern, with ``filters`` those that pass (docker-py's).

        ``all`` is Docker's word for intermediate images, of which there are none here: a build's steps are its cache.
        """
        from notebook_containers.engine import selection

        records: Sequence[ImageRecord] = self._parts.store.images.list()
        if name:
            records = selection.named(records, name)
        if filters:
            records = selection.chosen(records, filters, self._parts.store.images.resolve)
        return sorted((Image(self._parts, r) for r in records), key=lambda i: i.created, reverse=True)

    def obtain(self, name: str, platform: str = "") -> ImageRecord:
        """Return the record of a name, for a platform if one is given: what the store has, else an embedded base image, made now.

        Raises ImageNotFound, PlatformNotHere when the name is here for other platforms only.
        """
        wanted = parse_platform(platform) if platform else None
        try:
            return self._parts.store.images.for_platform(name, wanted)
        except PlatformNotHere:
            raise
        except ImageNotFound:
            from notebook_containers.engine import bases

            reference = Reference.parse(name).tagged()
            if reference.name in bases.BASES and reference.tag == "latest":
                bases.install(self._parts.store, reference)
                return self._parts.store.images.for_platform(name, wanted)
            raise

    def build(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        text: str | None = None,
        tag: str | Sequence[str] | None = None,
        dockerfile: str | os.PathLike[str] | None = None,
        buildargs: Mapping[str, str] | None = None,
        target: str = "",
        platform: str = "",
        nocache: bool = False,
        pull: bool = False,
        labels: Mapping[str, str] | None = None,
        network: str = "default",
        nocache_filter: Sequence[str] = (),
        extra_hosts: Mapping[str, str | Sequence[str]] | None = None,
        ulimits: Sequence[str | Mapping[str, object]] | None = None,
        shmsize: str | int | None = None,
        mem_limit: str | int | None = None,
        nano_cpus: int | None = None,
        cache_from: Sequence[str] = (),
        cache_to: Sequence[str] = (),
        secrets: Mapping[str, bytes] | None = None,
        ssh: Mapping[str, str] | None = None,
        fileobj: BinaryIO | None = None,
        custom_context: bool = False,
        contexts: Mapping[str, str] | None = None,
        context_vars: Mapping[str, object] | None = None,
        progress: Callable[[Event], None] | None = None,
    ) -> BuildResult:
        """Build an image from the context ``path`` (docker-py's keywords) and its Dockerfile, or from ``text``.

        ``path`` is a directory, the address of a git repository (``#ref:subdir``) or of an archive; ``fileobj`` is a Dockerfile, or with
        ``custom_context`` an archive that is the context. ``contexts`` are named ones (name → directory, address, ``docker-image://IMAGE``
        or ``oci-layout://DIRECTORY``); ``context_vars`` (file → bytes, text, DataFrame, figure, JSON value, Path) are files of the context.
        ``platform`` (``linux/arm64``) is what the image is for, and what bases are taken for; RUN of another machine's programs needs an
        emulator that the kernel knows. ``nocache_filter`` names stages whose steps are run again; ``extra_hosts``, ``ulimits``,
        ``shmsize``, ``mem_limit`` and ``nano_cpus`` are for the containers of RUN. ``secrets`` (id → value) and ``ssh`` (id → an agent's
        socket) are there for ``RUN --mount`` only and are never kept. ``cache_from`` and ``cache_to`` are BuildKit's words
        (``type=registry,ref=NAME``,
        ``type=local,src=DIR`` or ``dest=DIR`` below the context, ``type=inline``).

        Raises DockerfileError for a file that cannot be understood, BuildError when a step fails (its ``run`` opens a container there);
        nothing is tagged then, and the steps that succeeded stay cached.
        """
        from notebook_containers.build import build as builder
        from notebook_containers.build.lent import Lent
        from notebook_containers.engine import build_cache, build_sources, opened
        from notebook_containers.engine.build_bases import BuildBases
        from notebook_containers.engine.executor import RuntimeExecutor
        from notebook_containers.engine.steps import Steps

        if network not in BUILD_NETWORKS:
            raise InvalidArgument(f"build network {network!r} is unknown", hint="use " + ", ".join(BUILD_NETWORKS))
        if fileobj is not None and not custom_context:
            text = fileobj.read().decode("utf-8-sig")
        lent, tell = Lent(secrets=dict(secrets or {}), agents=dict(ssh or {})), progress or (lambda _event: None)
        wanted = build_sources.Wanted(
            path=path, text=text, dockerfile=dockerfile, archive=fileobj if custom_context else None, contexts=dict(contexts or {}),
            values=dict(context_vars or {}), variables=dict(buildargs or {}), lent=lent, tell=tell,
        )  # fmt: skip
        if words.wants_host(words.host_lines(extra_hosts)):
            raise InvalidArgument("a build does not reach this machine: host-gateway is for run", hint="give an address, or --network host")
        limits = ContainerOptions(
            extra_hosts=words.host_lines(extra_hosts), ulimits=limit_words.ulimits(ulimits), shm_bytes=words.size(shmsize, what="shm size"),
            memory_bytes=words.memory(mem_limit), nano_cpus=words.at_least("nano_cpus", nano_cpus),
        )  # fmt: skip
        names = [tag] if isinstance(tag, str) else list(tag or ())
        taken = [build_cache.parse(word, "from") for word in cache_from]
        given = [build_cache.parse(word, "to") for word in cache_to]
        with build_sources.opened(self._parts, wanted, self._layout) as sources:
            place = sources.context if sources.local else Path.cwd()
            self._take_caches(taken, place, tell)
            result = opened.opening(self._parts)(builder.build)(
                self._parts.store,
                sources.text,
                content_keys=bool(given),
                more_labels=build_cache.label_of if any(word.type == "inline" for word in given) else None,
                name=sources.name,
                context=sources.context,
                named=sources.named,
                values=sources.values,
                trusted=sources.trusted,
                executor=RuntimeExecutor(parts=self._parts, networks=self._networks, note=_noting(tell), options=limits),
                bases=BuildBases(self, tell),
                tags=[Reference.parse(n).new_tag() for n in names],
                build_args=dict(buildargs or {}),
                target=target,
                platform=platform,
                no_cache=nocache,
                no_cache_filter=nocache_filter,
                hosts=limits.extra_hosts,
                pull=pull,
                labels=dict(labels or {}),
                network=network,
                lent=lent,
                progress=tell,
            )
            for word in given:
                build_cache.give(self._parts, self, result, word, directory=place)
        for each in names or ("",):
            self._parts.emit_image("build", result.image.id, each)
        return BuildResult(image=Image(self._parts, result.image), steps=Steps(result.steps), hints=result.hints, plan=result.plan)

    def _take_caches(self, words: Sequence[CacheWord], directory: Path, tell: Callable[[Event], None]) -> None:
        """Take the steps of caches; one that cannot be had is told and passed over: the build does without."""
        from notebook_containers.build.progress import Warned
        from notebook_containers.engine import build_cache

        for word in words:
            try:
                build_cache.take(self._parts, self, word, directory)
            except Error as err:
                tell(Warned(line=0, message=f"the cache {word.place} is not used: {err.one_line()}"))

    def deliver(
        self, image: Image, tags: Sequence[str], output: Output, *, directory: Path, stdout: BinaryIO, epoch: int | None = None
    ) -> None:
        """Write or push a built image as ``build -o`` says; destinations are below ``directory``, times not after ``epoch``."""
        from notebook_containers.engine import outputs

        outputs.deliver(self._parts, self, image, tags, output, directory=directory, stdout=stdout, epoch=epoch)

    def failed(self) -> FailedStep:
        """Return the step of a build that failed last, as its command left it; NotFound when none is kept."""
        from notebook_containers.engine import opened

        return opened.failed(self._parts)

    def look(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        text: str | None = None,
        dockerfile: str | os.PathLike[str] | None = None,
        buildargs: Mapping[str, str] | None = None,
        target: str = "",
        platform: str = "",
        contexts: Mapping[str, str] | None = None,
    ) -> Look:
        """Read a Dockerfile without building it: its ``findings()``, ``targets()`` and ``outline()``; no image is pulled.

        Raises DockerfileError for what is wrong in it.
        """
        from notebook_containers.build.calls import Look
        from notebook_containers.build.contexts import origins
        from notebook_containers.engine import build_sources

        args = dict(buildargs or {})
        wanted = build_sources.Wanted(path=path, text=text, dockerfile=dockerfile, contexts=dict(contexts or {}), variables=args)
        with build_sources.opened(self._parts, wanted, self._layout) as sources:
            return Look(
                sources.text, context=sources.context, config=self._config, build_args=args, name=sources.name, target=target,
                platform=platform, named=origins(sources.named),
            )  # fmt: skip

    def _layout(self, path: str) -> Sequence[ImageRecord]:
        return [image.record for image in self.load_directory(path, named=False)]

    def _config(self, name: str) -> ImageConfig | None:
        try:
            return self.obtain(name).config
        except ImageNotFound:
            return None

    def tag(self, source: str, name: str) -> Image:
        """Give an image one more name, and what the name is here for other platforms with it."""
        image, reference = self.get(source), Reference.parse(name).new_tag()
        platforms = self._parts.store.images.variants(source)
        self._parts.store.images.tag(image.record.id, reference, like=Reference.parse(source) if platforms else None)
        self._parts.emit_image("tag", image.id, reference.familiar())
        image.reload()
        return image

    def pull(self, repository: str, tag: str | None = None, *, platform: str = "", progress: registries.Progress = None) -> Image:
        """Fetch an image from its registry, for this machine or for ``platform`` (``linux/arm64``).

        ``progress`` is called with the events of ``registry.progress``, from several threads.
        """
        return Image(self._parts, registries.pull(self._parts, _name(repository, tag), platform=platform, progress=progress))

    def pull_all(self, repository: str, *, platform: str = "", progress: registries.Progress = None) -> Sequence[Image]:
        """Fetch every tag of a repository; tags for other platforms only are left out and told."""
        records = registries.pull_all(self._parts, repository, platform=platform, progress=progress)
        return [Image(self._parts, record) for record in records]

    def registry_digest(self, name: str) -> Digest:
        """Return the digest that a name stands for in its registry now (of the index, where it is one); nothing is fetched."""
        return registries.digest(self._parts, name)

    def push(
        self,
        repository: str,
        tag: str | None = None,
        *,
        compression: str = "gzip",
        compression_level: int | None = None,
        platform: str = "",
        progress: registries.Progress = None,
    ) -> str:
        """Send an image to its registry; returns the digest there. ``compression`` of new layers: gzip (level 0-9), zstd (1-22) or none.

        A name that is here for several platforms goes as a whole, as an index; with ``platform`` that one image alone.
        """
        name = _name(repository, tag)
        level = compression_level
        return str(registries.push(self._parts, name, compression=compression, level=level, platform=platform, progress=progress))

    def push_all(self, repository: str, *, compression: str = "gzip", progress: registries.Progress = None) -> Mapping[str, str]:
        """Send every tag of a repository that is here; returns name → manifest digest."""
        return dict(registries.push_all(self._parts, repository, compression=compression, progress=progress))

    def search(self, term: str, *, limit: int = 25) -> Sequence[Found]:
        """Return repositories that a registry finds for a word (``registry.example/word`` asks that one, a word alone Docker Hub)."""
        return registries.search(self._parts, term, limit=limit)

    def save(
        self, names: Sequence[str], *, format: str = "docker-archive", platform: str = "", progress: registries.Progress = None
    ) -> Iterator[bytes]:
        """Return an archive of images: ``docker-archive`` (docker, podman and skopeo read it, also as OCI layout) or ``oci-archive``.

        An image asked for by name is saved under that name, by id under all its names. NotFound when one is not for ``platform``.
        """
        from notebook_containers.engine import saving
        from notebook_containers.registry.progress import silent

        return saving.archive(self._parts, self._to_save(names, platform), form=format, report=progress or silent)

    def save_directory(
        self,
        names: Sequence[str],
        path: str | os.PathLike[str],
        *,
        format: str = "oci-dir",
        platform: str = "",
        progress: registries.Progress = None,
    ) -> None:
        """Write images as a directory: ``oci-dir`` (an OCI image layout) or ``docker-dir`` (one image, as skopeo's ``dir:``)."""
        from notebook_containers.engine import saving
        from notebook_containers.registry.progress import silent

        saving.directory(self._parts, self._to_save(names, platform), Path(path), form=format, report=progress or silent)

    def _to_save(self, names: Sequence[str], platform: str) -> saving.Chosen:
        chosen: dict[Digest, tuple[ImageRecord, list[str]]] = {}
        for name in names:
            first = self.obtain(name, platform)
            by_id = first.id.hex.startswith(name.removeprefix("sha256:"))
            others = () if platform else self._parts.store.images.variants(name)
            for record in (first, *(self._parts.store.images.get(each.image) for each in others if each.image != first.id)):
                entry = chosen.setdefault(record.id, (record, []))
                self._parts.emit_image("save", record.id, name)
                tags = record.tags if by_id else (Reference.parse(name).tagged().familiar(),)
                entry[1].extend(tag for tag in tags if tag not in entry[1])
        return list(chosen.values())

    def load(
        self, data: bytes | BinaryIO | Iterator[bytes], *, named: bool = True, platform: str = "", progress: registries.Progress = None
    ) -> Sequence[Image]:
        """Read the images of an archive made by docker, podman, skopeo or :meth:`save`, compressed or not; InvalidDocument for others.

        An archive may claim any name, and takes it from the image that has it; not ``named``: its names are passed over.
        Of an image for several platforms the one for ``platform`` comes (for this machine when it is empty); NotFound names those there.
        """
        from notebook_containers.engine import copying, loading
        from notebook_containers.registry.progress import silent

        with copying.plain(data) as stream:
            return self._loaded(loading.load(self._parts, stream, named=named, platform=platform, report=progress or silent))

    def load_directory(
        self, path: str | os.PathLike[str], *, named: bool = True, platform: str = "", progress: registries.Progress = None
    ) -> Sequence[Image]:
        """Read the images of a directory: an OCI image layout (umoci's too), skopeo's ``dir:``, an unpacked archive of docker."""
        from notebook_containers.engine import loading
        from notebook_containers.registry.progress import silent

        found = loading.load_directory(self._parts, Path(path), named=named, platform=platform, report=progress or silent)
        return self._loaded(found)

    def _loaded(self, records: Sequence[ImageRecord]) -> Sequence[Image]:
        for record in records:
            self._parts.emit_image("load", record.id, record.tags[0] if record.tags else record.id)
        return [Image(self._parts, record) for record in records]

    def import_image(
        self,
        data: bytes | BinaryIO | Iterator[bytes],
        repository: str | None = None,
        tag: str | None = None,
        *,
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> Image:
        """Make an image of one layer from a tar of a file system, compressed or not; ``changes`` are lines of a Dockerfile."""
        from notebook_containers.engine import commit, copying, importing

        with copying.plain(data) as stream:
            tags = commit.target(repository, tag)
            record = importing.import_tar(self._parts, stream, tags=tags, message=message, changes=changes, platform=platform)
        self._parts.emit_image("import", record.id, record.tags[0] if record.tags else record.id)
        return Image(self._parts, record)

    def import_image_from_url(
        self,
        url: str,
        repository: str | None = None,
        tag: str | None = None,
        *,
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> Image:
        """Make an image as :meth:`import_image` of the archive at an http or https address; NotFound when it cannot be had."""
        from notebook_containers.engine import commit, importing

        # what is wrong is told before anything is fetched
        commit.target(repository, tag)
        importing.check(changes, platform)
        with importing.fetched(self._parts, url) as file:
            return self.import_image(file, repository, tag, message=message or f"Imported from {url}", changes=changes, platform=platform)

    def remove(self, image: str, *, force: bool = False, noprune: bool = False) -> Sequence[Mapping[str, str]]:
        """Take a name away, and the image with it when that was the last; returns Docker's ``Untagged``/``Deleted`` lines.

        An image that a container uses is kept: Conflict, or with ``force`` only the name goes. By id see :func:`.removal.remove`.
        """
        from notebook_containers.engine import removal

        return removal.remove(self._parts, image, force=force, no_prune=noprune)

    def prune(self, filters: Mapping[str, object] | None = None, *, all: bool = False) -> dict[str, object]:
        """Remove images without a name (``all``: every one no container uses), the build cache they leave and unused layers.

        With ``all`` the build cache is emptied. ``filters`` are docker-py's: ``{"dangling": False, "until": "24h", "label": ["a=b"],
        "label!": "keep"}``; all must fit, and with any the build cache stays. ``Warnings`` says why nothing could be freed yet.
        """
        from notebook_containers.engine import removal

        return removal.prune(self._parts, filters, all=all)

    def sizes(self, images: Sequence[Image]) -> dict[str, tuple[int, int]]:
        """Return each image's bytes that are its own alone, and that it shares with others of the store, by image id."""
        from notebook_containers.store.collect import sizes

        records, store = [image.record for image in images], self._parts.store.images
        found = sizes(records if len({record.id for record in records}) == store.count() else store.list())
        return {image.id: found[image.record.id] for image in images}


def _name(repository: str, tag: str | None) -> str:
    if not tag:
        return repository
    return f"{repository}{'@' if ':' in tag else ':'}{tag}"


def _noting(progress: Callable[[Event], None]) -> Callable[[str], None]:
    """Return a function that passes each remark on once."""
    from notebook_containers.build.progress import Warned

    said: set[str] = set()

    def note(message: str) -> None:
        if message not in said:
            said.add(message)
            progress(Warned(line=0, message=message))

    return note

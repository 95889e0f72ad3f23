"""What the engine does with registries: pull, push, search, manifest lists; events are written for whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from notebook_containers.engine.parts import Parts
from notebook_containers.oci.platforms import parse_platform
from notebook_containers.oci.reference import Reference

if TYPE_CHECKING:
    from notebook_containers.oci.documents import JSON
    from notebook_containers.oci.image import Digest
    from notebook_containers.registry.listing import Found
    from notebook_containers.registry.lists import ManifestList, ManifestLists
    from notebook_containers.registry.progress import TransferEvent
    from notebook_containers.store.images import ImageRecord

    Progress: TypeAlias = Callable[[TransferEvent], None] | None


def pull(parts: Parts, name: str, *, platform: str = "", progress: Progress = None) -> ImageRecord:
    """Fetch one image by tag or digest."""
    from notebook_containers.registry.progress import silent
    from notebook_containers.registry.pull import pull as fetch

    reference = Reference.parse(name).tagged()
    record = fetch(parts.store, reference, parse_platform(platform) if platform else None, progress or silent)
    parts.emit_image("pull", reference.familiar(), Reference.parse(name).familiar())
    return record


def pull_all(parts: Parts, repository: str, *, platform: str = "", progress: Progress = None) -> list[ImageRecord]:
    """Fetch every tag of a repository."""
    from notebook_containers.registry.progress import silent
    from notebook_containers.registry.pull import pull_all as fetch

    reference = _without_tag(repository)
    records = fetch(parts.store, reference, parse_platform(platform) if platform else None, progress or silent)
    parts.emit_image("pull", reference.familiar(), reference.familiar())
    return records


def digest(parts: Parts, name: str) -> Digest:
    """Return the digest of what a registry has under a name now; nothing is kept of it."""
    from notebook_containers.registry.client import Client
    from notebook_containers.registry.settings import Settings

    reference = Reference.parse(name).tagged()
    with Client(reference.registry, settings=Settings.read(parts.store.root)) as client:
        return client.manifest(reference.repository, reference.digest or reference.tag).digest


def push(
    parts: Parts, name: str, *, compression: str = "gzip", level: int | None = None, platform: str = "", progress: Progress = None
) -> Digest:
    """Send one image, or the images of all platforms that the name is here for."""
    from notebook_containers.registry.progress import silent
    from notebook_containers.registry.push import push as send

    reference = Reference.parse(name).tagged()
    wanted = parse_platform(platform) if platform else None
    digest = send(parts.store, reference, progress or silent, compression=compression, level=level, platform=wanted)
    parts.emit_image("push", reference.familiar(), Reference.parse(name).familiar())
    return digest


def push_all(parts: Parts, repository: str, *, compression: str = "gzip", progress: Progress = None) -> Mapping[str, Digest]:
    """Send every tag of a repository that the store has; returns the digest of each name; raises ImageNotFound when there is none."""
    from notebook_containers.errors import ImageNotFound

    wanted = _without_tag(repository)
    names = sorted({tag for image in parts.store.images.list() for tag in image.tags if Reference.parse(tag).name == wanted.name})
    if not names:
        raise ImageNotFound(f"no image has a tag of {wanted.familiar()}", hint="see 'nbc images'")
    return {name: push(parts, name, compression=compression, progress=progress) for name in names}


def search(parts: Parts, term: str, *, limit: int = 25) -> list[Found]:
    """Search a registry: ``term``, or ``registry/term``."""
    from notebook_containers.registry import listing
    from notebook_containers.registry.attended import attended
    from notebook_containers.registry.client import Client
    from notebook_containers.registry.settings import Settings

    registry, word = _place(term)
    with Client(registry, settings=Settings.read(parts.store.root)) as client:
        return attended(lambda: listing.search(client, word, limit=limit), client.transport.cut, name="nbc-search")


def login(parts: Parts, username: str, password: str, registry: str) -> Sequence[str]:
    """Try a password at a registry and keep it as docker does; returns what people should know of it."""
    from notebook_containers.registry import login as logins
    from notebook_containers.registry.settings import Settings

    return logins.login(registry_name(registry), username, password, settings=Settings.read(parts.store.root)).warnings


def logout(registry: str) -> bool:
    """Forget the password of a registry."""
    from notebook_containers.registry import login as logins

    return logins.logout(registry_name(registry))


def logged_in() -> Sequence[str]:
    """Return the registries that docker's ``config.json`` has a login for; RegistryError for one that cannot be understood."""
    from notebook_containers.registry.credentials import config_path, read_config

    found = (read_config(config_path()) or {}).get("auths")
    names = [name.removeprefix("https://").partition("/")[0] for name in found] if isinstance(found, dict) else []
    return ["docker.io" if name == "index.docker.io" else name for name in names]


def registry_name(text: str) -> str:
    """Return the registry that people mean: a host, an address of the web, or Docker Hub for an empty text; InvalidReference."""
    host = text.removeprefix("https://").removeprefix("http://").partition("/")[0]
    if host in ("", "docker.io", "index.docker.io", "registry-1.docker.io"):
        return "docker.io"
    from notebook_containers.errors import InvalidReference

    found = Reference.parse(f"{host}/x").registry if ":" in host or "." in host or host == "localhost" else ""
    if found != host:
        raise InvalidReference(f"{text[:100]!r} is no registry", hint="write a host, as registry.example or reg.lan:5000")
    return found


class Manifests:
    """Manifest lists: several images under one name, one a platform."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def names(self) -> Sequence[str]:
        """Return the names of the lists made here."""
        return self._lists().names()

    def inspect(self, name: str) -> dict[str, JSON]:
        """Return a list made here, else what the registry has: a manifest or an index."""
        return self._lists().inspect(Reference.parse(name))

    def create(self, name: str, images: Sequence[str], *, amend: bool = False) -> ManifestList:
        """Make a list of images that are in their registry; ``amend`` adds to one that there is."""
        return self._lists().create(Reference.parse(name), [Reference.parse(image) for image in images], amend=amend)

    def annotate(
        self,
        name: str,
        image: str,
        *,
        os: str = "",
        arch: str = "",
        variant: str = "",
        os_version: str = "",
        os_features: Sequence[str] = (),
    ) -> ManifestList:
        """Correct what a list says an image runs on."""
        from notebook_containers.oci.image import Platform

        platform = Platform(os=os, architecture=arch, variant=variant, os_version=os_version, os_features=tuple(os_features))
        return self._lists().annotate(Reference.parse(name), Reference.parse(image), platform)

    def push(self, name: str, *, purge: bool = False) -> str:
        """Send a list to its registry; returns its digest there."""
        return str(self._lists().push(Reference.parse(name), purge=purge))

    def remove(self, name: str) -> None:
        """Forget a list; the registry's copy stays."""
        self._lists().remove(Reference.parse(name))

    def _lists(self) -> ManifestLists:
        from notebook_containers.registry.lists import ManifestLists

        return ManifestLists(self._parts.store)


def _without_tag(repository: str) -> Reference:
    from notebook_containers.errors import InvalidReference

    reference = Reference.parse(repository)
    if reference.tag or reference.digest:
        raise InvalidReference(f"{repository!r} names one image", hint="leave the tag out to mean all of them")
    return reference


def _place(term: str) -> tuple[str, str]:
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return registry_name(first), rest
    return "docker.io", term

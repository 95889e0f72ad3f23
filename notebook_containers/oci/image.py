"""Images: digests, descriptors, manifests, indexes, configs and chain ids (OCI image-spec 1.1; Docker schema 2 reads the same way)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Self

from notebook_containers.errors import InvalidDocument
from notebook_containers.lean import dataclass, field
from notebook_containers.oci.documents import Document, always, named

_DIGEST = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar"

LAYER_TYPES = (LAYER_TAR, LAYER_GZIP, LAYER_ZSTD, DOCKER_LAYER_GZIP, DOCKER_LAYER_TAR)


class Digest(str):
    """``algorithm:hex`` of a content, checked on creation (image-spec, descriptor.md); usable as a path part by construction."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check the text; raises InvalidDocument unless it is sha256 or sha512 with lower-case hex of the right length."""
        if not _DIGEST.match(text):
            raise InvalidDocument(f"{text[:100]!r} is not a digest", hint="expected sha256: and 64 hex digits")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """Return the digest of bytes."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """The part before the colon."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The part after the colon."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first twelve hex digits, as people quote ids."""
        return self.hex[:12]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Platform(Document):
    """What an image runs on; ``architecture`` in Go's names (amd64, arm64)."""

    architecture: str
    os: str = field(default="linux", metadata=always())
    variant: str = ""
    os_version: str = field(default="", metadata=named("os.version"))
    os_features: tuple[str, ...] = field(default=(), metadata=named("os.features"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Descriptor(Document):
    """Points at a blob: its type, digest and size in bytes; ``artifact_type`` is what a referrer is."""

    media_type: str = field(metadata=named("mediaType"))
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str = field(default="", metadata=named("artifactType"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Manifest(Document):
    """One image for one platform: its config and its layers, bottom first."""

    schema_version: int = field(metadata=named("schemaVersion"))
    media_type: str = field(default="", metadata=named("mediaType"))
    config: Descriptor
    layers: tuple[Descriptor, ...] = field(default=(), metadata=always())
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Index(Document):
    """Several manifests, one a platform."""

    schema_version: int = field(metadata=named("schemaVersion"))
    media_type: str = field(default="", metadata=named("mediaType"))
    manifests: tuple[Descriptor, ...] = field(default=(), metadata=always())
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Healthcheck(Document):
    """Docker's health check; durations in nanoseconds, 0 means the default."""

    test: tuple[str, ...] = field(default=(), metadata=named("Test"))
    interval: int = field(default=0, metadata=named("Interval"))
    timeout: int = field(default=0, metadata=named("Timeout"))
    start_period: int = field(default=0, metadata=named("StartPeriod"))
    start_interval: int = field(default=0, metadata=named("StartInterval"))
    retries: int = field(default=0, metadata=named("Retries"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class ContainerConfig(Document):
    """What a container made from the image starts with (image-spec config.md ``config``, and Docker's additions)."""

    user: str = field(default="", metadata=named("User"))
    exposed_ports: Mapping[str, object] = field(default_factory=dict, metadata=named("ExposedPorts"))
    env: tuple[str, ...] = field(default=(), metadata=named("Env"))
    entrypoint: tuple[str, ...] | None = field(default=None, metadata=named("Entrypoint"))
    cmd: tuple[str, ...] | None = field(default=None, metadata=named("Cmd"))
    volumes: Mapping[str, object] = field(default_factory=dict, metadata=named("Volumes"))
    working_dir: str = field(default="", metadata=named("WorkingDir"))
    labels: Mapping[str, str] = field(default_factory=dict, metadata=named("Labels"))
    stop_signal: str = field(default="", metadata=named("StopSignal"))
    shell: tuple[str, ...] = field(default=(), metadata=named("Shell"))
    healthcheck: Healthcheck | None = field(default=None, metadata=named("Healthcheck"))
    on_build: tuple[str, ...] = field(default=(), metadata=named("OnBuild"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class RootFS(Document):
    """The layers' digests of their uncompressed tars, bottom first."""

    type: str = field(default="layers", metadata=always())
    diff_ids: tuple[Digest, ...] = field(default=(), metadata=always())


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class History(Document):
    """One line of an image's history; ``created`` is RFC 3339."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class ImageConfig(Document):
    """An image's config blob; its digest is the image id (image-spec config.md)."""

    created: str = ""
    author: str = ""
    architecture: str
    variant: str = ""
    os: str
    config: ContainerConfig = field(default_factory=ContainerConfig)
    rootfs: RootFS = field(default_factory=RootFS, metadata=always())
    history: tuple[History, ...] = ()


def chain_id(diff_ids: Iterable[Digest]) -> Digest:
    """Return the chain id of layers, bottom first (image-spec config.md, "Layer ChainID"); raises InvalidDocument when there are none."""
    chain: Digest | None = None
    for diff_id in diff_ids:
        chain = diff_id if chain is None else Digest.of(f"{chain} {diff_id}".encode())
    if chain is None:
        raise InvalidDocument("an image without layers has no chain id")
    return chain

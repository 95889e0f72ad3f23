"""The plan: stages and steps with every variable replaced, what each does to files, and the config it leaves.

Data only; ``expanding.py`` makes it. A plan is a DAG: a stage needs those in ``needs``, a step only its predecessor in its stage and the
stages it copies from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from notebook_containers.build.findings import Finding
from notebook_containers.build.locations import Location
from notebook_containers.build.parser import Node
from notebook_containers.build.stages import Origin
from notebook_containers.lean import dataclass, field
from notebook_containers.oci.image import ContainerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineFile:
    """A here-document that becomes a file."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BindMount:
    """Files of the build context (``origin`` None) or of other layers, seen at ``target``; what is written there is thrown away."""

    target: str
    origin: Origin | None = None
    source: str = ""
    readonly: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheDirectory:
    """A directory that outlives the build; ``source`` in ``origin`` is what a new one holds."""

    id: str
    target: str
    readonly: bool = False
    sharing: str = "shared"
    origin: Origin | None = None
    source: str = ""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMount:
    """A tmpfs; ``size`` as the kernel reads it, empty for its default."""

    target: str
    size: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret of the caller's as a file at ``target``, as the variable ``env``, or both; nothing of it is ever kept."""

    id: str
    target: str = ""
    env: str = ""
    required: bool = False
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The caller's SSH agent, as a socket at ``target``; ``SSH_AUTH_SOCK`` names the first."""

    id: str
    target: str
    required: bool = False
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


RunMount: TypeAlias = "BindMount | CacheDirectory | MemoryMount | Secret | Agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execute:
    """RUN: ``env`` goes into the cache key, ``hidden_env`` (proxies) does not; ``script`` is the file of a ``#!`` here-document."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    hidden_env: tuple[str, ...] = ()
    cwd: str
    user: str
    script: InlineFile | None = None
    mounts: tuple[RunMount, ...] = ()
    network: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """COPY and ADD: ``origin`` is None for the build context; ``destination`` is absolute, a last ``/`` means a directory.

    ``mode`` is a number, or a symbolic mode in words. ``link``: a layer of its own, whatever is below it. ``parents``: sources keep the
    directories above them. ``excludes`` are patterns of what is left out of each source. ``remotes`` are fetched,
    with ``checksum`` (``sha256:…``, or what a commit begins with) checked, and unpacked only when ``unpack_fetched``; a repository is
    without its ``.git`` unless ``keep_git_dir``.
    """

    sources: tuple[str, ...]
    inline: tuple[InlineFile, ...] = ()
    origin: Origin | None = None
    destination: str
    unpack: bool = False
    owner: str = ""
    mode: int | str | None = None
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    remotes: tuple[Location, ...] = ()
    checksum: str = ""
    unpack_fetched: bool = False
    keep_git_dir: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDirectory:
    """WORKDIR: the directory is made when it is missing."""

    path: str


Operation: TypeAlias = "Execute | Copy | MakeDirectory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One instruction: ``operation`` is None when it changes no file; ``created_by`` is its line of the image's history.

    ``config`` and ``author`` are the image's after it; ``arguments`` are the ARGs that it uses, or that its command sees.
    ``foreign``: it is a base image's trigger, and not the user's own word.
    """

    node: Node
    line: int
    text: str
    operation: Operation | None
    created_by: str
    config: ContainerConfig
    author: str
    foreign: bool = False
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """A stage with its steps (FROM is not one of them); ``config`` and ``author`` are what it starts with.

    ``platform`` is the one that was asked for; empty: this machine's.
    """

    index: int
    label: str
    base: Origin
    node: Node
    steps: tuple[Step, ...]
    config: ContainerConfig
    author: str
    needs: frozenset[int]
    platform: str = ""

    @property
    def final(self) -> ContainerConfig:
        """The config after the last step."""
        return self.steps[-1].config if self.steps else self.config

    @property
    def final_author(self) -> str:
        """The author after the last step."""
        return self.steps[-1].author if self.steps else self.author


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The stages that the target needs, each after those it needs; the target is the last one; ``findings`` were made on the way."""

    stages: tuple[StagePlan, ...]
    findings: tuple[Finding, ...]

"""The instructions as frozen values: read from a node, checked, not yet expanded (variables are known only while planning).

:func:`interpret` is in ``interpret.py``. Each value keeps its node, so that every later stage can point at the line.
"""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.build.parser import Flag, Heredoc, Node
from notebook_containers.build.words import Word
from notebook_containers.lean import dataclass
from notebook_containers.oci.image import Healthcheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all instructions have: their node."""

    node: Node

    @property
    def line(self) -> int:
        """The first line, from 1."""
        return self.node.line

    @property
    def text(self) -> str:
        """The instruction on one line, blanks as written."""
        return self.node.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line: JSON form gives ``args`` as they are; shell form has one argument and needs a shell in front."""

    args: tuple[str, ...]
    in_shell: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """``FROM [--platform=…] IMAGE [AS NAME]``: starts a stage."""

    image: Word
    name: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """``--mount=type=KIND,…``: ``values`` by their long names (``target``, ``readonly``), as written; checked but for variables."""

    kind: str
    values: Mapping[str, str]
    flag: Flag

    @property
    def from_(self) -> str:
        """The stage, image or context that it takes from; empty for the build context."""
        return self.values.get("from", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """``RUN``: ``command`` as written; the here-documents belong to its shell; ``network`` is empty for the build's own."""

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[RunMount, ...] = ()
    network: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """``COPY`` and ``ADD``: sources (words as written, or the texts of here-documents) to a destination."""

    sources: tuple[Word, ...]
    inline: tuple[Heredoc, ...] = ()
    destination: Word
    add: bool = False
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    unpack: bool = False
    unpack_fetched: bool = False
    checksum: str = ""
    keep_git_dir: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """``KEY=VALUE`` as written; ``value`` is None where no ``=`` stands (``ARG NAME``)."""

    key: str
    value: str | None
    offset: int

    def __str__(self) -> str:
        """The pair as written."""
        return self.key if self.value is None else f"{self.key}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    """``ENV KEY=VALUE …`` or ``ENV KEY VALUE``."""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    """``LABEL KEY=VALUE …``."""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """``ARG NAME[=DEFAULT] …``."""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    """``WORKDIR PATH``: made when it does not exist."""

    path: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    """``USER NAME[:GROUP]``."""

    user: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    """``CMD``."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    """``ENTRYPOINT``."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """``EXPOSE PORT[-PORT][/PROTOCOL] …``, words as written."""

    ports: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    """``VOLUME PATH …`` or a JSON list."""

    paths: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    """``STOPSIGNAL NAME|NUMBER``."""

    signal: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    """``SHELL ["program", "option"]``: the shell of the shell forms that follow."""

    args: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    """``MAINTAINER NAME`` (deprecated: a label is better)."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck(Instruction):
    """``HEALTHCHECK NONE`` or ``HEALTHCHECK [options] CMD …``."""

    health: Healthcheck


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild(Instruction):
    """``ONBUILD INSTRUCTION``: ``expression`` runs at the start of a build that is FROM this image."""

    expression: str

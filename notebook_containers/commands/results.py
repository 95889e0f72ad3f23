"""What verbs return: plain values that a face turns into a table, a DataFrame, a diagram or an exit status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.build.solver import StepResult
    from notebook_containers.commands.compose_graph import ProjectGraph
    from notebook_containers.commands.imagetree import Branch
    from notebook_containers.commands.layers import ImageStack
    from notebook_containers.commands.plans import BuildPlan
    from notebook_containers.commands.topology import Topology
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.image import Image
    from notebook_containers.oci.documents import JSON

Row: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of one ``kind`` (ps, images, history, diff, top, networks, volumes, port); keys are the DataFrame's columns.

    ``status`` is the command line's: a check that found something is no error, and still no success.
    """

    kind: str
    rows: Sequence[Row]
    also: Sequence[str] = ()
    """Columns, by their names in templates, that a table of text does not show unasked."""
    whole: bool = False
    """Whether a table of text cuts nothing."""
    status: int = 0
    empty: str = ""
    """What is said instead of a table without rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text for people, or what ``--format`` and ``-q`` asked for; ``status`` is the command line's exit status."""

    text: str
    status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a verb acted on, one name a line as Docker prints it; ``failures`` are the errors of the others."""

    names: Sequence[str]
    failures: Sequence[Exception] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What went, as rows of ``kind`` (tag, image, container, volume, network, cache), ``name`` and ``action`` (untagged, deleted).

    ``lines`` are what the command line prints of them, ``total`` says how much that freed where it was counted, and ``failures`` are the
    errors of the others.
    """

    rows: Sequence[Row]
    lines: Sequence[str]
    total: str = ""
    failures: Sequence[Exception] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """JSON documents (inspect, info)."""

    documents: Sequence[Mapping[str, JSON]]
    kind: str = "inspect"
    failures: Sequence[Exception] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value that a notebook's cell gives (an image, a digest), and the ``text`` that the command line says instead."""

    value: object
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A container that was made or goes on in the background."""

    container: Container


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A foreground process that ended; its output went to the face already."""

    exit_code: int
    what: str
    container_id: str = ""
    verdict: str = ""
    """Why it ended and the next step, when the exit status alone does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A finished build."""

    image: Image
    steps: Sequence[StepResult] = ()
    quiet: bool = False
    plan: BuildPlan | None = None
    """What to show instead of the image's layers, if that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The plan of a build that was not done."""

    plan: BuildPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The layers of one or several images, to be drawn side by side."""

    stacks: Sequence[ImageStack]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Images by what they stand on, from the top."""

    branches: Sequence[Branch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphed:
    """A project as a graph."""

    graph: ProjectGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class Networked:
    """Networks and containers, to be drawn."""

    topology: Topology


Result: TypeAlias = (
    Table | Text | Names | Removed | Documents | Given | Started | Ended | Built | Planned | Layers | Tree | Graphed | Networked | None
)

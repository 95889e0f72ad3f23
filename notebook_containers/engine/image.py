"""One image, and what a build of one gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import unix_time
from notebook_containers.lean import dataclass
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.image import Digest
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord

if TYPE_CHECKING:
    from notebook_containers import PlanDiagram
    from notebook_containers.build.ordering import Hint
    from notebook_containers.build.progress import PlannedStep
    from notebook_containers.engine.opened import OpenedStep
    from notebook_containers.engine.steps import Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One line of ``docker history``: ``layer`` is None for an instruction that changed no file; ``size`` in bytes."""

    created: float
    created_by: str
    size: int
    layer: Digest | None
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """A finished build: the image, the verdict on every step and advice; unpacks as docker-py's ``image, logs``."""

    image: Image
    steps: Steps
    hints: tuple[Hint, ...] = ()
    plan: tuple[PlannedStep, ...] = ()
    log: tuple[str, ...] = ()

    def plan_diagram(self) -> PlanDiagram:
        """Return the plan as a picture: stages, steps, what was cached, what ran at once and how long."""
        from notebook_containers import plan_diagram  # the face that draws; nothing here imports it before

        return plan_diagram(self.plan, self.steps)

    def __iter__(self) -> Iterator[object]:
        """Unpack as docker-py's pair."""
        return iter((self.image, iter({"stream": line} for line in self.log)))


class Image:
    """One image; attributes are as of the last look."""

    def __init__(self, parts: Parts, record: ImageRecord) -> None:
        self._parts, self.record = parts, record

    @property
    def id(self) -> str:
        """The digest of its config."""
        return self.record.id

    @property
    def short_id(self) -> str:
        """The first twelve digits of the id."""
        return self.record.id.short

    @property
    def tags(self) -> Sequence[str]:
        """Its names as people write them."""
        return self.record.tags

    @property
    def created(self) -> float:
        """When it was made, Unix time."""
        return self.record.created

    @property
    def size(self) -> int:
        """Bytes of all its layers."""
        return self.record.size

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.record.labels

    @property
    def layers(self) -> Sequence[Digest]:
        """The diff ids of its layers, bottom first."""
        return self.record.diff_ids

    @property
    def attrs(self) -> dict[str, JSON]:
        """Everything known, in the shape of ``docker inspect``."""
        from notebook_containers.engine import inspection

        return inspection.image(self.record)

    def history(self) -> list[HistoryLine]:
        """Return its history, newest first as Docker prints it."""
        layers = iter(self.layers)
        lines = []
        for entry in self.record.config.history:
            layer = None if entry.empty_layer else next(layers, None)
            size = self._parts.store.layers.get(layer).size if layer else 0
            lines.append(
                HistoryLine(created=unix_time(entry.created), created_by=entry.created_by, size=size, layer=layer, comment=entry.comment)
            )
        return lines[::-1]

    def step(self, number: int) -> OpenedStep:
        """Return a step of its build by its number in the log: ``.run(["sh"])``, ``.diff()``, ``.config``; NotFound tells the numbers."""
        from notebook_containers.engine import opened

        return opened.step(self._parts, self, number)

    def tag(self, repository: str, tag: str | None = None) -> None:
        """Give it one more name."""
        name = f"{repository}:{tag}" if tag else repository
        reference = Reference.parse(name).new_tag()
        self._parts.store.images.tag(self.record.id, reference)
        self._parts.emit_image("tag", self.record.id, reference.familiar())
        self.reload()

    def reload(self) -> None:
        """Look at the store again."""
        self.record = self._parts.store.images.resolve(self.record.id)

    def __repr__(self) -> str:
        """Names and id in one line."""
        return f"<Image {self.short_id} {', '.join(self.tags) or '<none>'}>"

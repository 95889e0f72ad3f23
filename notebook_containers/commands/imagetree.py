"""``images --tree``: which image stands on which, by their layers, with each one's own bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.commands import figures
from notebook_containers.commands.figures import docker_size
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.engine.image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One image in the tree: the lines that lead to it, its names, its layers, and its bytes, all and those that no other image has."""

    lines: str
    names: str
    id: str
    layers: int
    size: int
    own: int

    def text(self) -> str:
        """Return it as a line of text."""
        what = f"{figures.count(self.layers, 'layer')}, {docker_size(self.size)}, {docker_size(self.own)} of its own"
        return f"{self.lines}{self.names}  {self.id}  {what}"


def branches(images: Sequence[Image], sizes: Mapping[str, tuple[int, int]]) -> list[Branch]:
    """Return the tree from its top: an image is below the one whose layers are the longest beginning of its own; sizes as of the engine."""
    children: dict[str, list[Image]] = {}
    for image in images:
        below = _below(image, images)
        children.setdefault(below.id if below else "", []).append(image)
    return [branch for image in children.get("", []) for branch in _drawn(image, children, sizes, "", "")]


def _below(image: Image, images: Sequence[Image]) -> Image | None:
    own = tuple(image.layers)
    fitting = [
        other
        for other in images
        if other.id != image.id and other.layers and len(other.layers) < len(own) and own[: len(other.layers)] == tuple(other.layers)
    ]
    return max(fitting, key=lambda other: (len(other.layers), other.created), default=None)


def _drawn(
    image: Image, children: Mapping[str, list[Image]], sizes: Mapping[str, tuple[int, int]], first: str, rest: str
) -> Iterator[Branch]:
    names = ", ".join(image.tags) or "<none>"
    yield Branch(lines=first, names=names, id=image.short_id, layers=len(image.layers), size=image.size, own=sizes[image.id][0])
    below = children.get(image.id, [])
    for number, child in enumerate(below):
        last = number == len(below) - 1
        yield from _drawn(child, children, sizes, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))

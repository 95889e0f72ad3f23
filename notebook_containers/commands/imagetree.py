"""``images --tree``: which image stands on which, by their layers, with each one's own bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers.commands.figures import docker_size

if TYPE_CHECKING:
    from notebook_containers.engine.images import Image


def image_tree(images: Sequence[Image], sizes: Mapping[str, tuple[int, int]]) -> str:
    """Return the tree as text: an image is below the one whose layers are the longest beginning of its own; sizes as of the engine."""
    children: dict[str, list[Image]] = {}
    for image in images:
        below = _below(image, images)
        children.setdefault(below.id if below else "", []).append(image)
    lines: list[str] = []
    for image in children.get("", []):
        lines += _drawn(image, children, sizes, "", "")
    return "\n".join(lines)


def _below(image: Image, images: Sequence[Image]) -> Image | None:
    own = tuple(image.layers)
    fitting = [
        other
        for other in images
        if other.id != image.id and other.layers and len(other.layers) < len(own) and own[: len(other.layers)] == tuple(other.layers)
    ]
    return max(fitting, key=lambda other: (len(other.layers), other.created), default=None)


def _drawn(image: Image, children: Mapping[str, list[Image]], sizes: Mapping[str, tuple[int, int]], first: str, rest: str) -> list[str]:
    unique, _shared = sizes[image.id]
    names = ", ".join(image.tags) or "<none>"
    count = f"{len(image.layers)} layer{'s' if len(image.layers) != 1 else ''}"
    lines = [f"{first}{names}  {image.short_id}  {count}, {docker_size(image.size)}, {docker_size(unique)} of its own"]
    below = children.get(image.id, [])
    for number, child in enumerate(below):
        last = number == len(below) - 1
        lines += _drawn(child, children, sizes, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    return lines

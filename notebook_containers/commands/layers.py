"""Images as stacks of layers: plain data, and the figures of what they share."""

from __future__ import annotations

import re
from collections.abc import Sequence

from notebook_containers.commands import figures
from notebook_containers.commands.text import one_line
from notebook_containers.lean import dataclass

_SHELL = re.compile(r"(?:\|\d+ (?:\S+=\S* )*)?/bin/(?:ba)?sh -c\s+")
_NOP = re.compile(r"/bin/(?:ba)?sh -c #\(nop\)\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBox:
    """One line of an image's history: the instruction, and the layer it made (``diff_id`` and ``size`` in bytes) unless ``empty``."""

    diff_id: str
    instruction: str
    size: int = 0
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStack:
    """An image: the name people use, its id, and its layers, bottom first."""

    name: str
    id: str
    layers: tuple[LayerBox, ...]

    @property
    def filled(self) -> tuple[LayerBox, ...]:
        """The layers that exist on disk."""
        return tuple(layer for layer in self.layers if not layer.empty)

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.filled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A layer that stands in more than one place: its mark (``A``), its number (for the colour), and how many images have it."""

    mark: str
    number: int
    layer: LayerBox
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """What images have in common: counts of layers, bytes as if nothing were shared, and bytes on disk."""

    images: int
    layers: int
    on_disk: int
    bytes_apart: int
    bytes_on_disk: int
    shared: dict[str, Shared]

    @classmethod
    def of(cls, stacks: Sequence[ImageStack]) -> Sharing:
        """Count; the marks are given in the order in which shared layers stand, bottom first, image after image."""
        places = [layer for stack in stacks for layer in stack.filled]
        unique = {layer.diff_id: layer for layer in places}
        holders = {diff_id: sum(any(layer.diff_id == diff_id for layer in s.filled) for s in stacks) for diff_id in unique}
        common = [diff_id for diff_id in unique if holders[diff_id] > 1]
        return cls(
            images=len(stacks),
            layers=len(places),
            on_disk=len(unique),
            bytes_apart=sum(layer.size for layer in places),
            bytes_on_disk=sum(layer.size for layer in unique.values()),
            shared={
                diff_id: Shared(mark=_mark(number), number=number, layer=unique[diff_id], images=holders[diff_id])
                for number, diff_id in enumerate(common)
            },
        )

    @property
    def saved(self) -> int:
        """Bytes that sharing saves."""
        return self.bytes_apart - self.bytes_on_disk

    def sentence(self) -> str:
        """Return the figures in words: ``3 images, 9 layers, 5 on disk: 41.2 MB instead of 103.5 MB, sharing saves 62.3 MB (60 %)``."""
        begin = f"{figures.count(self.images, 'image')}, {figures.count(self.layers, 'layer')}"
        if self.images < 2 and not self.saved:
            return f"{begin}: {figures.size(self.bytes_on_disk)}"
        if not self.saved and not self.shared:
            return f"{begin}, {self.on_disk} on disk: {figures.size(self.bytes_on_disk)}, nothing is shared"
        share = f" ({100 * self.saved / self.bytes_apart:.0f} %)" if self.bytes_apart else ""
        sizes = f"{figures.size(self.bytes_on_disk)} instead of {figures.size(self.bytes_apart)}"
        return f"{begin}, {self.on_disk} on disk: {sizes}, sharing saves {figures.size(self.saved)}{share}"


def as_text(stacks: Sequence[ImageStack], sharing: Sharing | None = None) -> str:
    """Return images with their layers as text, top layer first: marks for what is shared, sizes, and the figures."""
    counted = sharing or Sharing.of(stacks)
    return "\n\n".join([*(_block(stack, counted) for stack in stacks), counted.sentence()])


def _block(stack: ImageStack, sharing: Sharing) -> str:
    id_ = stack.id.removeprefix("sha256:")[:12]
    lines = [f"{one_line(stack.name)}  {id_}  {figures.size(stack.size)}, {figures.count(len(stack.filled), 'layer')}"]
    for layer in reversed(stack.layers):
        shared = None if layer.empty else sharing.shared.get(layer.diff_id)
        mark = f"[{shared.mark}]" if shared else ""
        size = "-" if layer.empty else figures.size(layer.size)
        lines.append(f"  {mark:<4} {size:>8}  {one_line(' '.join(instruction_words(layer.instruction)).strip(), limit=100)}")
    return "\n".join(lines)


def instruction_words(created_by: str) -> tuple[str, str]:
    """Return a history line as (instruction, the rest), without what builders wrap around it (``/bin/sh -c #(nop)``, ``# buildkit``)."""
    text = one_line(created_by, limit=2000).removesuffix(" # buildkit")
    if _NOP.match(text):
        text = _NOP.sub("", text, count=1)
    elif _SHELL.match(text):
        text = "RUN " + _SHELL.sub("", text, count=1)
    else:
        text = re.sub(r"^RUN /bin/(?:ba)?sh -c ", "RUN ", re.sub(r"^RUN \|\d+ (?:\S+=\S* )*", "RUN ", text))
    word, _, rest = text.partition(" ")
    return (word, rest.strip()) if word.isupper() and word.isalpha() else ("", text)


def _mark(number: int) -> str:
    """Return A to Z, then AA, AB and so on."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters

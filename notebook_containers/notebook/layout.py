"""Where the boxes of a layer diagram go: a few images as stacks side by side, many as one strip each with a legend of what they share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from notebook_containers.commands import figures
from notebook_containers.commands.layers import ImageStack, LayerBox, Shared, Sharing, instruction_words
from notebook_containers.commands.text import one_line
from notebook_containers.lean import dataclass
from notebook_containers.notebook.drawing import Drawing, Shape, fit

MOST_STACKS = 5
"""More images than this are drawn as strips."""

_WIDTHS = {1: (460.0, 0.0), 2: (320.0, 72.0), 3: (262.0, 56.0), 4: (212.0, 36.0), 5: (172.0, 26.0)}
_HEAD = 44.0
_GAP = 4.0
_TWO_LINES = 58.0
_MARGIN = 2.0
_STRIP_NAME, _STRIP_ROOM, _STRIP_HEIGHT, _STRIP_GAP = 210.0, 730.0, 28.0, 7.0
_LEGEND_COLUMNS, _LEGEND_MOST = 2, 24


def draw(stacks: Sequence[ImageStack], sharing: Sharing) -> Drawing:
    """Lay out the diagram; pure, the same data gives the same drawing."""
    if not stacks:
        head = Shape(kind="rect", role="head", x=0, y=0, width=200, height=32)
        return Drawing(width=200, height=32, shapes=(head, Shape(kind="text", role="head", x=100, y=21, text="no images", anchor="middle")))
    return _Stacks(stacks=tuple(stacks), sharing=sharing).drawing() if len(stacks) <= MOST_STACKS else _strips(stacks, sharing)


def layer_title(layer: LayerBox, shared: Shared | None) -> str:
    """Return what is shown on hover: the whole instruction, the size, the layer's id, and who has it."""
    lead, rest = instruction_words(layer.instruction)
    size = "no layer, only settings" if layer.empty else figures.size(layer.size)
    where = f"\nlayer {shared.mark}: the same object in {shared.images} images" if shared else ""
    return f"{lead} {rest}".strip() + f"\n{size}" + (f"\n{layer.diff_id[:19]}" if layer.diff_id and not layer.empty else "") + where


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    layer: LayerBox
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stacks:
    """Up to five images side by side, standing on one ground line, ribbons between what is the same."""

    stacks: tuple[ImageStack, ...]
    sharing: Sharing

    def drawing(self) -> Drawing:
        width, gap = _WIDTHS[len(self.stacks)]
        tall = max(sum(self.height(layer) + _GAP for layer in stack.layers) for stack in self.stacks)
        ground = _MARGIN + _HEAD + _GAP + tall
        columns = [self.column(stack, _MARGIN + i * (width + gap), ground) for i, stack in enumerate(self.stacks)]
        boxes = [shape for column in columns for place in column for shape in self.box(place, width)]
        heads = [
            shape
            for i, (stack, column) in enumerate(zip(self.stacks, columns, strict=True))
            for shape in _head(stack, _MARGIN + i * (width + gap), min((p.y for p in column), default=ground) - _GAP - _HEAD, width)
        ]
        total = len(columns) * (width + gap) - gap + 2 * _MARGIN
        return Drawing(width=total, height=ground + _MARGIN, shapes=(*self.ribbons(columns, width), *boxes, *heads))

    @property
    def dense(self) -> bool:
        return max(len(stack.filled) for stack in self.stacks) > 14

    def height(self, layer: LayerBox) -> float:
        """A box grows with the logarithm of its layer's size, so that one big layer does not hide the others."""
        if layer.empty:
            return 20.0
        return 24.0 if self.dense else 40.0 + 7.0 * max(0.0, math.log10(max(layer.size, 1)) - 3)

    def column(self, stack: ImageStack, x: float, ground: float) -> tuple[_Place, ...]:
        places, y = [], ground
        for layer in stack.layers:
            height = self.height(layer)
            y -= height + _GAP
            places.append(_Place(layer=layer, x=x, y=y + _GAP, height=height))
        return tuple(places)

    def ribbons(self, columns: Sequence[Sequence[_Place]], width: float) -> Iterator[Shape]:
        last: dict[str, _Place] = {}
        for column in columns:
            for place in column:
                shared = self.sharing.shared.get(place.layer.diff_id)
                if shared and not place.layer.empty:
                    before = last.get(place.layer.diff_id)
                    if before and before.x < place.x:
                        role, x = f"shared-{shared.number}", before.x + width
                        yield Shape(kind="ribbon", role=role, x=x, y=before.y, x2=place.x, y2=place.y, height=place.height, opacity=0.4)
                    last[place.layer.diff_id] = place

    def box(self, place: _Place, width: float) -> Iterator[Shape]:
        layer, x, y = place.layer, place.x, place.y
        shared = None if layer.empty else self.sharing.shared.get(layer.diff_id)
        role = "empty" if layer.empty else f"shared-{shared.number}" if shared else "own"
        yield Shape(kind="rect", role=role, x=x, y=y, width=width, height=place.height, title=layer_title(layer, shared))
        if layer.empty:
            yield _instruction(layer, role, (x + 10, y + 14), width=width - 20, size=10.5)
        elif self.dense:
            yield from self._dense(layer, shared, role, place, width)
        else:
            yield from self._roomy(layer, shared, role, place, width)

    def _dense(self, layer: LayerBox, shared: Shared | None, role: str, place: _Place, width: float) -> Iterator[Shape]:
        baseline, right = place.y + place.height / 2 + 4, place.x + width - 8
        if shared:
            yield from _badge(shared, role, right - 9, place.y + place.height / 2)
            right -= 24
        yield Shape(kind="text", role=role, x=right, y=baseline, text=figures.size(layer.size), size=10.5, anchor="end")
        yield _instruction(layer, role, (place.x + 10, baseline), width=right - place.x - 70, size=11)

    def _roomy(self, layer: LayerBox, shared: Shared | None, role: str, place: _Place, width: float) -> Iterator[Shape]:
        x, room = place.x + 10, width - (46 if shared else 20)
        lines = _lines(layer, room, 11.5, most=2 if place.height >= _TWO_LINES else 1)
        y = place.y + place.height / 2 - 3 - 7.5 * (len(lines) - 1)
        for number, (lead, text) in enumerate(lines):
            yield Shape(kind="text", role=role, x=x, y=y + 15 * number, lead=lead, text=text, size=11.5, code=True)
        bottom = y + 15 * len(lines) + 1
        yield Shape(kind="text", role=role, x=x, y=bottom, text=figures.size(layer.size), size=11, opacity=0.9)
        if shared:
            yield from _badge(shared, role, place.x + width - 18, y - 4)
            words = f"in {shared.images} images"
            yield Shape(kind="text", role=role, x=place.x + width - 9, y=bottom, text=words, size=10, anchor="end", opacity=0.9)
        largest = max(box.size for stack in self.stacks for box in stack.filled) or 1
        bar = (width - 2) * layer.size / largest
        if bar >= 1:
            y = place.y + place.height - 4
            yield Shape(kind="rect", role=role, x=place.x + 1, y=y, width=bar, height=3, radius=1.5, opacity=0.4, inverse=True)


def _head(stack: ImageStack, x: float, y: float, width: float) -> Iterator[Shape]:
    words = " · ".join((stack.id.removeprefix("sha256:")[:12], figures.size(stack.size), figures.count(len(stack.filled), "layer")))
    if width < 200:
        words = f"{figures.size(stack.size)} · {figures.count(len(stack.filled), 'layer')}"
    title = f"{stack.name}\n{stack.id}\n{figures.size(stack.size)}"
    yield Shape(kind="rect", role="head", x=x, y=y, width=width, height=_HEAD, radius=6, title=title)
    name = fit(one_line(stack.name), (width - 20) * 0.93, 13)
    yield Shape(kind="text", role="head", x=x + 10, y=y + 18, text=name, size=13, strong=True)
    yield Shape(kind="text", role="head", x=x + 10, y=y + 34, text=words, size=10.5, opacity=0.85)


def _instruction(layer: LayerBox, role: str, at: tuple[float, float], *, width: float, size: float) -> Shape:
    ((lead, text),) = _lines(layer, width, size, most=1)
    return Shape(kind="text", role=role, x=at[0], y=at[1], lead=lead, text=text, size=size, code=True)


def _lines(layer: LayerBox, width: float, size: float, *, most: int) -> list[tuple[str, str]]:
    """Cut an instruction into at most two lines, each (its first word where that is the instruction's name, the rest)."""
    lead, rest = instruction_words(layer.instruction)
    words = f"{lead} {rest}".strip()
    first = fit(words, width, size)
    if first != words and most > 1:
        room = len(first)
        cut = words.rfind(" ", room // 2, room + 1)
        first = words[: cut if cut > 0 else room]
        lines = [first, fit(words[len(first) :].strip(), width, size)]
    else:
        lines = [first]
    lead = lead if first.startswith(f"{lead} ") else ""
    return [(lead, lines[0][len(lead) :]), *(("", line) for line in lines[1:])]


def _badge(shared: Shared, role: str, x: float, y: float) -> Iterator[Shape]:
    width = 18.0 + 7 * (len(shared.mark) - 1)
    yield Shape(kind="rect", role=role, x=x - width / 2, y=y - 9, width=width, height=18, radius=9, inverse=True)
    yield Shape(kind="text", role=role, x=x, y=y + 4, text=shared.mark, size=11, anchor="middle", strong=True, inverse=True)


def _strips(stacks: Sequence[ImageStack], sharing: Sharing) -> Drawing:
    """One row an image, bottom layer first; a segment's length grows with the logarithm of its size."""
    longest = max(sum(_length(layer) for layer in stack.filled) + 2 * len(stack.filled) for stack in stacks) or 1
    scale = min(_STRIP_ROOM / longest, 3.0)
    shapes: list[Shape] = []
    y = _MARGIN
    for stack in stacks:
        shapes += _strip_name(stack, y)
        x = _MARGIN + _STRIP_NAME + 8
        for layer in stack.filled:
            width = max(_length(layer) * scale, 1.5)
            shapes += _segment(layer, sharing.shared.get(layer.diff_id), x, y, width)
            x += width + 2 * min(scale, 1)
        y += _STRIP_HEIGHT + _STRIP_GAP
    bottom, legend = _legend(sharing, y + 6)
    return Drawing(width=_STRIP_NAME + _STRIP_ROOM + 12, height=bottom, shapes=(*shapes, *legend))


def _length(layer: LayerBox) -> float:
    return 22.0 + 14.0 * max(0.0, math.log10(max(layer.size, 1)) - 3)


def _strip_name(stack: ImageStack, y: float) -> Iterator[Shape]:
    title = f"{stack.name}\n{stack.id}\n{figures.size(stack.size)}"
    yield Shape(kind="rect", role="head", x=_MARGIN, y=y, width=_STRIP_NAME, height=_STRIP_HEIGHT, title=title)
    name = fit(one_line(stack.name), _STRIP_NAME - 78, 11)
    yield Shape(kind="text", role="head", x=_MARGIN + 8, y=y + 18, text=name, size=11.5, strong=True)
    size = figures.size(stack.size)
    yield Shape(kind="text", role="head", x=_MARGIN + _STRIP_NAME - 8, y=y + 18, text=size, size=10.5, anchor="end", opacity=0.85)


def _segment(layer: LayerBox, shared: Shared | None, x: float, y: float, width: float) -> Iterator[Shape]:
    role = f"shared-{shared.number}" if shared else "own"
    yield Shape(kind="rect", role=role, x=x, y=y, width=width, height=_STRIP_HEIGHT, radius=3, title=layer_title(layer, shared))
    if shared and width >= 7 * len(shared.mark) + 5:
        yield Shape(kind="text", role=role, x=x + width / 2, y=y + 18.5, text=shared.mark, size=12, anchor="middle", strong=True)
    elif not shared and width >= 48:
        lead, rest = instruction_words(layer.instruction)
        text = fit(f"{lead} {rest}".strip(), width - 10, 9.5)
        yield Shape(kind="text", role=role, x=x + 6, y=y + 18, text=text, size=9.5, code=True)


def _legend(sharing: Sharing, y: float) -> tuple[float, list[Shape]]:
    shown = sorted(sharing.shared.values(), key=lambda shared: -shared.layer.size * (shared.images - 1))[:_LEGEND_MOST]
    shown.sort(key=lambda shared: shared.number)
    width = (_STRIP_NAME + _STRIP_ROOM + 8 - 8 * (_LEGEND_COLUMNS - 1)) / _LEGEND_COLUMNS
    rows = math.ceil(len(shown) / _LEGEND_COLUMNS)
    shapes: list[Shape] = []
    for place, shared in enumerate(shown):
        column, row = divmod(place, rows)
        shapes += _legend_entry(shared, _MARGIN + column * (width + 8), y + row * 28, width)
    left = len(sharing.shared) - len(shown)
    y += rows * 28
    if left:
        words = f"and {figures.count(left, 'smaller shared layer')}, in the table"
        shapes.append(Shape(kind="rect", role="own", x=_MARGIN, y=y, width=240, height=24))
        shapes.append(Shape(kind="text", role="own", x=_MARGIN + 10, y=y + 16, text=words, size=11))
        y += 28
    return y, shapes


def _legend_entry(shared: Shared, x: float, y: float, width: float) -> Iterator[Shape]:
    role = f"shared-{shared.number}"
    yield Shape(kind="rect", role=role, x=x, y=y, width=width, height=24, title=layer_title(shared.layer, shared))
    yield from _badge(shared, role, x + 16, y + 12)
    words = f"{figures.size(shared.layer.size)} · in {shared.images} images"
    yield Shape(kind="text", role=role, x=x + width - 8, y=y + 16, text=words, size=10.5, anchor="end")
    yield _instruction(shared.layer, role, (x + 34, y + 16), width=width - 44 - 6.2 * len(words), size=11)

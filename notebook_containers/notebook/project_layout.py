"""Where the boxes of a project go: a column for each depth of need, what is needed at the left; shared things below, then the times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from notebook_containers.commands import figures
from notebook_containers.commands.compose_graph import SIGNS, ProjectGraph, ServiceBox, Shared
from notebook_containers.commands.text import one_line
from notebook_containers.compose.progress import Doing, Span, by_service
from notebook_containers.notebook.drawing import CODE_WIDTH, Drawing, Shape, fit

_MARGIN, _GAP = 2.0, 4.0
_WIDTH, _BETWEEN, _APART = 250.0, 120.0, 18.0
_HEAD, _LINE, _CHIP = 28.0, 22.0, 20.0
_NAME, _BAR, _LEAST_ROOM = 120.0, 22.0, 420.0
_HOW = {"well": "shared-2", "done": "shared-6", "starting": "shared-4", "ill": "shared-5", "absent": "head"}
_SHARED_COLOURS = (0, 1, 3, 7)
_DOING: Mapping[Doing, str] = {
    "building": "shared-3", "pulling": "shared-6", "waiting": "shared-4", "creating": "head", "starting": "shared-0",
    "checking": "shared-2", "stopping": "shared-5", "removing": "shared-5",
}  # fmt: skip


def draw_project(graph: ProjectGraph) -> Drawing:
    """Lay out the graph; pure, the same data gives the same drawing."""
    roles = _roles(graph)
    columns: dict[int, list[ServiceBox]] = {}
    for box in graph.services:
        columns.setdefault(box.depth, []).append(box)
    heights = {depth: sum(_height(box) + _APART for box in boxes) - _APART for depth, boxes in columns.items()}
    tall = max(heights.values(), default=0.0)
    places: dict[str, tuple[float, float]] = {}
    for depth in sorted(columns):
        y = _MARGIN + (tall - heights[depth]) / 2
        for box in columns[depth]:
            places[box.name] = (_MARGIN + depth * (_WIDTH + _BETWEEN), y)
            y += _height(box) + _APART
    width = max((x for x, _y in places.values()), default=0.0) + _WIDTH + _MARGIN
    width = max(width, _MARGIN * 2 + _NAME + _LEAST_ROOM)
    boxes_drawn = [shape for box in graph.services for shape in _box(box, *places[box.name], roles)]
    bottom, legend = _legend(graph, tall + _MARGIN + _APART, width, roles)
    bottom, times = _times(graph, bottom + _APART, width)
    shapes = (*_needs(graph, places), *boxes_drawn, *legend, *times)
    return Drawing(width=width, height=bottom + _MARGIN, shapes=shapes)


def _roles(graph: ProjectGraph) -> dict[tuple[str, str], str]:
    """Return a colour for every network and volume: the same one wherever it appears."""
    things = [("network", n.key) for n in graph.networks] + [("volume", v.key) for v in graph.volumes]
    return {thing: f"shared-{_SHARED_COLOURS[i % len(_SHARED_COLOURS)]}" for i, thing in enumerate(things)}


def _chips(box: ServiceBox) -> list[tuple[str, str]]:
    return [*(("network", key) for key in box.networks), *(("volume", key) for key in box.volumes)]


def _height(box: ServiceBox) -> float:
    lines = 1 + len(box.ports)
    return _HEAD + _GAP + lines * (_LINE + _GAP) + len(_chips(box)) * (_CHIP + _GAP)


def _box(box: ServiceBox, x: float, y: float, roles: Mapping[tuple[str, str], str]) -> Iterator[Shape]:
    role = _HOW[box.how]
    title = f"{box.name}: {box.state}\n{box.image}" + "".join(f"\nneeds {need.words()}" for need in box.needs)
    yield Shape(kind="rect", role=role, x=x, y=y, width=_WIDTH, height=_HEAD, radius=6, title=title)
    state = f"{SIGNS[box.how]} {box.state}"
    name = fit(one_line(box.name), _WIDTH - 30 - len(state) * 7, 13)
    yield Shape(kind="text", role=role, x=x + 10, y=y + 19, lead=name, text="", size=13)
    yield Shape(kind="text", role=role, x=x + _WIDTH - 10, y=y + 19, text=one_line(state), size=11, anchor="end")
    y += _HEAD + _GAP
    for kind, text in [("own", box.image), *(("empty", port) for port in box.ports)]:
        yield Shape(kind="rect", role=kind, x=x, y=y, width=_WIDTH, height=_LINE)
        shown = fit(one_line(text), _WIDTH - 18, 11)
        yield Shape(kind="text", role=kind, x=x + 9, y=y + 15, text=shown, size=11, code=True)
        y += _LINE + _GAP
    for thing in _chips(box):
        yield from _chip(thing, (x, y), _WIDTH, roles)
        y += _CHIP + _GAP


def _chip(
    thing: tuple[str, str], place: tuple[float, float], width: float, roles: Mapping[tuple[str, str], str], more: str = ""
) -> Iterator[Shape]:
    x, y = place
    role = roles.get(thing, "own")
    yield Shape(kind="rect", role=role, x=x, y=y, width=width, height=_CHIP, radius=10)
    sign = {"network": "⇄ network ", "volume": "▤ volume "}[thing[0]]
    text = fit(one_line(f"{thing[1]}{more}"), width - 90, 11)
    yield Shape(kind="text", role=role, x=x + 10, y=y + 14, lead=sign, text=text, size=11)


def _needs(graph: ProjectGraph, places: Mapping[str, tuple[float, float]]) -> Iterator[Shape]:
    """Draw a ribbon from each needed service to the one that needs it, with the condition on it."""
    by_name = {box.name: box for box in graph.services}
    taken: dict[str, int] = {}
    for box in graph.services:
        for number, need in enumerate(box.needs):
            x, y = places[need.on]
            x2, y2 = places[box.name]
            out = taken.get(need.on, 0)
            taken[need.on] = out + 1
            y += 8 + min(out * 14, _height(by_name[need.on]) - 20)
            y2 += 8 + number * 20
            role = _HOW[by_name[need.on].how]
            strong = 0.6 if need.required else 0.3
            yield Shape(kind="ribbon", role=role, x=x + _WIDTH, y=y, x2=x2, y2=y2, height=9, opacity=strong, title=need.words())
            text = need.condition
            wide = len(text) * 6.2 + 14
            middle_x, middle_y = x2 - 12 - wide, y2 - 4
            yield Shape(kind="rect", role="own", x=middle_x, y=middle_y, width=wide, height=17, radius=8, title=need.words())
            yield Shape(kind="text", role="own", x=middle_x + wide / 2, y=middle_y + 12, text=text, size=10, anchor="middle")


def _legend(graph: ProjectGraph, y: float, width: float, roles: Mapping[tuple[str, str], str]) -> tuple[float, list[Shape]]:
    """Draw every network and volume once, with its name on the engine and who has it."""
    shapes: list[Shape] = []
    things: list[tuple[str, Shared]] = [*(("network", n) for n in graph.networks), *(("volume", v) for v in graph.volumes)]
    for kind, thing in things:
        words = f" ({thing.name}{', external' if thing.external else ''}): {', '.join(thing.services) or 'nobody'}"
        shapes += _chip((kind, thing.key), (_MARGIN, y), width - 2 * _MARGIN, roles, words)
        y += _CHIP + _GAP
    return (y - _GAP if things else y - _APART), shapes


def _times(graph: ProjectGraph, y: float, width: float) -> tuple[float, list[Shape]]:
    """Draw a row of bars for each service: what it waited for, and what was done with it."""
    total = max((span.ended for span in graph.spans), default=0.0)
    groups = by_service(graph.spans)
    if not groups or total <= 0:
        return y - _APART, []
    left, room = _MARGIN + _NAME + _GAP, width - 2 * _MARGIN - _NAME - _GAP
    shapes = [
        Shape(kind="rect", role="head", x=_MARGIN, y=y, width=width - 2 * _MARGIN, height=20),
        Shape(kind="text", role="head", x=_MARGIN + 8, y=y + 14, text="the last up", size=11),
        Shape(kind="text", role="head", x=left, y=y + 14, text="0 s", size=10.5),
        Shape(kind="text", role="head", x=width - _MARGIN - 6, y=y + 14, text=figures.seconds(total), size=10.5, anchor="end"),
    ]
    y += 20 + _GAP
    for service, spans in groups.items():
        lanes = _lanes(spans)
        tall = len(lanes) * (_BAR + _GAP) - _GAP
        shapes.append(Shape(kind="rect", role="own", x=_MARGIN, y=y, width=_NAME, height=tall))
        shapes.append(Shape(kind="text", role="own", x=_MARGIN + 8, y=y + 15, text=fit(one_line(service), _NAME - 16, 11), size=11))
        for lane in lanes:
            shapes.append(Shape(kind="rect", role="empty", x=left, y=y, width=room, height=_BAR))
            shapes += [shape for span in lane for shape in _bar(span, left, y, room / total)]
            y += _BAR + _GAP
    return y - _GAP, shapes


def _lanes(spans: Sequence[Span]) -> list[list[Span]]:
    """Return the spans in as few rows as they fit in without lying over each other."""
    lanes: list[list[Span]] = []
    for span in spans:
        lane = next((lane for lane in lanes if lane[-1].ended <= span.began + 1e-6), None)
        if lane is None:
            lanes.append([span])
        else:
            lane.append(span)
    return lanes


def _bar(span: Span, left: float, y: float, scale: float) -> Iterator[Shape]:
    role, long = _DOING[span.doing], max((span.ended - span.began) * scale, 1.5)
    words = f"waits for {span.on}" if span.doing == "waiting" else span.doing
    title = f"{span.name}: {words}, {figures.seconds(span.ended - span.began)} from {figures.seconds(span.began)}"
    yield Shape(kind="rect", role=role, x=left + span.began * scale, y=y + 1, width=long, height=_BAR - 2, radius=2, title=title)
    if long >= len(words) * 9.5 * CODE_WIDTH + 10:
        yield Shape(kind="text", role=role, x=left + span.began * scale + 5, y=y + 14.5, text=words, size=9.5, code=True)

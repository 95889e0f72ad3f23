"""Where the boxes of a topology go: the host and its ports left, containers in the middle, networks right, ribbons between them."""

from __future__ import annotations

from collections.abc import Iterator

from notebook_containers.commands.text import one_line
from notebook_containers.commands.topology import HOST, NONE, ContainerBox, NetworkBox, Topology
from notebook_containers.lean import dataclass
from notebook_containers.notebook.drawing import Drawing, Shape, fit

_MARGIN, _GAP, _APART, _BETWEEN = 2.0, 3.0, 16.0, 104.0
_HOST, _CONTAINER, _NETWORK = 214.0, 304.0, 252.0
_HEAD, _ROW, _RIBBON = 30.0, 25.0, 11.0
_OWN, _COLOURS = "shared-6", (0, 1, 2, 3, 4, 5, 7)  # of the host, of networks
_STATES = {"running": "●", "paused": "‖", "restarting": "↻"}
_CONTAINERS_AT = _MARGIN + _HOST + _BETWEEN
_NETWORKS_AT = _CONTAINERS_AT + _CONTAINER + _BETWEEN


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A line in a box; ``left`` and ``right`` name what a ribbon leads to on that side."""

    role: str
    text: str
    note: str = ""
    left: str = ""
    right: str = ""
    code: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """A heading and rows."""

    key: str
    name: str
    note: str
    role: str
    rows: tuple[_Row, ...]

    @property
    def height(self) -> float:
        return _HEAD + len(self.rows) * (_ROW + _GAP)


def draw_topology(topology: Topology) -> Drawing:
    """Lay out the picture; pure, the same data gives the same drawing."""
    colours = {network.name: f"shared-{_COLOURS[number % len(_COLOURS)]}" for number, network in enumerate(topology.networks)}
    containers = [_container(box, colours) for box in _in_order(topology)]
    networks = [_network(network, colours[network.name]) for network in topology.networks]
    columns = ([_host(topology)], containers, networks)
    tall = max((_tall(boxes) for boxes in columns), default=0.0)
    widths, lefts = (_HOST, _CONTAINER, _NETWORK), (_MARGIN, _CONTAINERS_AT, _NETWORKS_AT)
    shapes: list[Shape] = []
    ends: dict[str, tuple[float, float]] = {}
    starts: list[tuple[str, str, float, float]] = []
    for boxes, left, width in zip(columns, lefts, widths, strict=True):
        y = _MARGIN + (tall - _tall(boxes)) / 2
        for box in boxes:
            shapes += _draw(box, left, y, width)
            ends[box.key] = (left if left > _CONTAINERS_AT else left + width, y + (_HEAD - _RIBBON) / 2)
            for number, row in enumerate(box.rows):
                middle = y + _HEAD + _GAP + number * (_ROW + _GAP) + (_ROW - _RIBBON) / 2
                if box.key == "host":
                    ends[f"host {row.text}"] = (left + width, middle)
                starts += [(row.left, row.role, left, middle)] if row.left else []
                starts += [(row.right, row.role, left + width, middle)] if row.right else []
            y += box.height + _APART
    ribbons = [_ribbon(x, y, *ends[key], role) for key, role, x, y in starts if key in ends]
    width = _NETWORKS_AT + _NETWORK + _MARGIN if networks else _CONTAINERS_AT + _CONTAINER + _MARGIN
    return Drawing(width=width, height=tall + 2 * _MARGIN, shapes=(*ribbons, *shapes))


def _in_order(topology: Topology) -> list[ContainerBox]:
    """Sort containers so that few ribbons cross: by their first network, those that share one's behind it, then who is in none."""
    numbers = {network.name: number for number, network in enumerate(topology.networks)}
    last = len(numbers)

    def place(box: ContainerBox) -> tuple[float, str, bool, str]:
        other = next((each for each in topology.containers if each.name == box.shares), box)
        networks = sorted(numbers.get(place.network, last) for place in other.places)
        where = networks[0] + (0.5 if len(networks) > 1 else 0.0) if networks else last + (other.mode == NONE)
        return where, other.name, bool(box.shares), box.name

    return sorted(topology.containers, key=place)


def _tall(boxes: list[_Box]) -> float:
    return sum(box.height + _APART for box in boxes) - _APART if boxes else 0.0


def _host(topology: Topology) -> _Box:
    # each address once, however many containers listen there
    ports = dict.fromkeys(port.host for box in _in_order(topology) for port in box.ports)
    rows = [_Row(role=_OWN, text=host) for host in ports]
    if any(box.mode == HOST for box in topology.containers):
        rows.append(_Row(role=_OWN, text="its own network", code=False))
    if not rows:
        rows.append(_Row(role="empty", text="no published port", code=False))
    return _Box(key="host", name=topology.host, note="host", role="head", rows=tuple(rows))


def _container(box: ContainerBox, colours: dict[str, str]) -> _Box:
    rows = [_Row(role="empty", text=box.image, code=False)]
    rows += [_Row(role=_OWN, text=port.inside, note=f"published as {port.host}", left=f"host {port.host}") for port in box.ports]
    for place in box.places:
        shown = place.addresses or ("no address",)
        called = f"also {', '.join(place.aliases)}" if place.aliases else ""
        role = colours.get(place.network, "empty")
        rows.append(_Row(role=role, text=shown[0], note=called, right=f"network {place.network}"))
        rows += [_Row(role=role, text=address) for address in shown[1:]]
    if box.shares:
        rows.append(_Row(role="own", text=f"in the network of {box.shares}", code=False))
    if box.mode == NONE:
        rows.append(_Row(role="empty", text="no network", code=False))
    if box.mode == HOST:
        rows.append(_Row(role=_OWN, text="in the host's own network", code=False, left="host its own network"))
    state = f"{_STATES.get(box.state, '○')} {box.state}"
    return _Box(key=f"container {box.name}", name=box.name, note=state, role="head", rows=tuple(rows))


def _network(network: NetworkBox, role: str) -> _Box:
    rows = [_Row(role="own", text=one.subnet, note=f"gw {one.gateway}" if one.gateway else "") for one in network.subnets]
    rows.append(_Row(role="empty", text=network.way_out(), code=False))
    return _Box(key=f"network {network.name}", name=network.name, note=network.driver, role=role, rows=tuple(rows))


def _draw(box: _Box, x: float, y: float, width: float) -> Iterator[Shape]:
    note = one_line(box.note, limit=20)
    yield Shape(kind="rect", role=box.role, x=x, y=y, width=width, height=_HEAD, radius=6, title=f"{one_line(box.name)}\n{note}")
    room = width - 30 - 7 * len(note)
    yield Shape(kind="text", role=box.role, x=x + 11, y=y + 20, lead=fit(one_line(box.name), room, 13), text="", size=13)
    yield Shape(kind="text", role=box.role, x=x + width - 10, y=y + 20, text=note, size=11, anchor="end", opacity=0.95)
    for number, row in enumerate(box.rows):
        top = y + _HEAD + _GAP + number * (_ROW + _GAP)
        text, more = one_line(row.text), one_line(row.note)
        yield Shape(kind="rect", role=row.role, x=x, y=top, width=width, height=_ROW, title=f"{text} {more}".strip())
        shown = fit(text, width - 20, 11)
        yield Shape(kind="text", role=row.role, x=x + 10, y=top + 17, text=shown, size=11, code=row.code)
        rest = width - 34 - len(shown) * 11 * 0.61
        if more and rest > 40:
            yield Shape(
                kind="text", role=row.role, x=x + width - 9, y=top + 16.5, text=fit(more, rest, 10.5), size=10.5, anchor="end", opacity=0.9
            )


def _ribbon(x: float, y: float, x2: float, y2: float, role: str) -> Shape:
    if x2 < x:
        x, y, x2, y2 = x2, y2, x, y
    return Shape(kind="ribbon", role=role if role.startswith("shared-") else "head", x=x, y=y, x2=x2, y2=y2, height=_RIBBON, opacity=0.6)

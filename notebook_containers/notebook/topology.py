"""The topology of networks as a picture: who is connected to whom, with which addresses, and what is published on the host."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from notebook_containers.commands.text import plain
from notebook_containers.commands.topology import Topology
from notebook_containers.notebook.drawing import DRAWING_MIME
from notebook_containers.notebook.html import Markup, data_image, element, join
from notebook_containers.notebook.topology_layout import draw_topology

_VERSION, _TITLE = 1, "Networks and containers"
_HEADS = ("Container", "State", "Network", "Addresses", "Also called", "Published")


class TopologyDiagram:
    """A picture of networks and containers as they were when it was asked for; it never changes afterwards."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._drawing = draw_topology(topology)

    def to_svg(self, *, themed: bool = True) -> str:
        """Return the picture as SVG text; ``themed`` follows a Jupyter page's theme, with colours that suit both where there is none."""
        return self._drawing.to_svg(title=_TITLE, description=self.to_text(), themed=themed)

    def to_text(self) -> str:
        """Return the topology as text."""
        return self.topology.as_text()

    def to_html(self) -> Markup:
        """Return a figure with the picture, its figures in words, and a table; it needs no script, style or network."""
        picture = data_image(self.to_svg(themed=False), self.topology.sentence())
        figure = element("figure", None, picture, element("figcaption", None, self.topology.sentence()))
        if not self.topology.containers:
            return figure
        return join(figure, element("details", None, element("summary", None, "As a table"), self._table()))

    def _table(self) -> Markup:
        head = element("tr", None, *(element("th", None, word) for word in _HEADS))
        rows = [element("tr", None, *(element("td", None, cell) for cell in cells)) for cells in self._cells()]
        return element("table", None, element("thead", None, head), element("tbody", None, *rows))

    def _cells(self) -> Iterable[tuple[str, ...]]:
        for box in self.topology.containers:
            ports = ", ".join(f"{port.host} → {port.inside}" for port in box.ports)
            if not box.places:
                yield box.name, box.state, f"that of {box.shares}" if box.shares else box.mode, "", "", ports
            for place in box.places:
                yield box.name, box.state, place.network, ", ".join(place.addresses), ", ".join(place.aliases), ports

    def to_json(self) -> dict[str, object]:
        """Return the drawing and the table, for a front end that draws with its own theme (``version`` changes when its shape does)."""
        return {
            "version": _VERSION,
            "title": _TITLE,
            "figures": self.topology.sentence(),
            "table": {"heads": list(_HEADS), "rows": [[plain(cell, limit=500) for cell in cells] for cells in self._cells()]},
            "drawing": self._drawing.to_json(),
        }

    def save(self, path: str | Path) -> Path:
        """Write the SVG, with colours that suit light and dark, to a file and return its path."""
        target = Path(path)
        target.write_text(self.to_svg(themed=False), encoding="utf-8")
        return target

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:  # noqa: ARG002
        """Show the picture in any front end; IPython calls this, and picks from the bundle itself."""
        return {DRAWING_MIME: self.to_json(), "text/html": str(self.to_html()), "text/plain": self.to_text()}

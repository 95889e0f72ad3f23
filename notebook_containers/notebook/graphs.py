"""A project as a picture: services and what they need, networks, volumes, ports, health, and when the last ``up`` did what."""

from __future__ import annotations

from pathlib import Path

from notebook_containers.commands.compose_graph import SIGNS, ProjectGraph
from notebook_containers.notebook.html import Markup, data_image, element, join
from notebook_containers.notebook.project_layout import draw_project


class ProjectDiagram:
    """A picture of a project as it was when it was asked for; it never changes afterwards."""

    def __init__(self, graph: ProjectGraph) -> None:
        self.graph = graph
        self._drawing = draw_project(graph)

    def to_svg(self, *, themed: bool = True) -> str:
        """Return the picture as SVG text; ``themed`` follows a Jupyter page's theme, with colours that suit both where there is none."""
        return self._drawing.to_svg(title=f"The project {self.graph.name}", description=self.to_text(), themed=themed)

    def to_text(self) -> str:
        """Return the project as text."""
        return self.graph.as_text()

    def to_html(self) -> Markup:
        """Return a figure with the picture, its figures in words, and a table; it needs no script, style or network."""
        picture = data_image(self.to_svg(themed=False), self.graph.sentence())
        table = element("details", None, element("summary", None, "As a table"), self._table())
        return join(element("figure", None, picture, element("figcaption", None, self.graph.sentence())), table)

    def _table(self) -> Markup:
        heads = ("Service", "State", "Image", "Needs", "Ports", "Networks", "Volumes")
        head = element("tr", None, *(element("th", None, word) for word in heads))
        rows = [
            element("tr", None, *(element("td", None, cell) for cell in cells))
            for box in self.graph.services
            for cells in [
                (
                    box.name, f"{SIGNS[box.how]} {box.state}", box.image, ", ".join(need.words() for need in box.needs),
                    ", ".join(box.ports), ", ".join(box.networks), ", ".join(box.volumes),
                )
            ]
        ]  # fmt: skip
        return element("table", None, element("thead", None, head), element("tbody", None, *rows))

    def save(self, path: str | Path) -> Path:
        """Write the SVG, with colours that suit light and dark, to a file and return its path."""
        target = Path(path)
        target.write_text(self.to_svg(themed=False), encoding="utf-8")
        return target

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:  # noqa: ARG002
        """Show the picture in any front end; IPython calls this, and picks from the bundle itself."""
        return {"text/html": str(self.to_html()), "text/plain": self.to_text()}

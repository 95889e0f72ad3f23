"""``%container_images --tree``: which image stands on which, as a picture of the list in the cell."""

from __future__ import annotations

from collections.abc import Sequence

from notebook_containers.commands import figures
from notebook_containers.commands.imagetree import Branch
from notebook_containers.notebook.html import Markup, element, html

_LEFT = {"style": "text-align: left"}
_RIGHT = {"style": "text-align: right"}
_KEPT = "\N{NO-BREAK SPACE}"
_HEADINGS = (("image", _LEFT), ("id", _LEFT), ("layers", _RIGHT), ("size", _RIGHT), ("of its own", _RIGHT))


class ImageTree:
    """The tree, shown as a table whose first column has its lines; ``branches`` are its rows."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self.branches = tuple(branches)

    def __repr__(self) -> str:
        return "\n".join(branch.text() for branch in self.branches)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:  # noqa: ARG002
        """Show it; IPython calls this, and picks from the bundle itself."""
        return {"text/html": str(self._html()), "text/plain": repr(self)}

    def _html(self) -> Markup:
        if not self.branches:
            return html("no images")
        head = element("tr", None, *(element("th", align, word.replace(" ", _KEPT)) for word, align in _HEADINGS))
        rows = [element("tr", None, *_cells(branch)) for branch in self.branches]
        return element("table", None, element("thead", None, head), element("tbody", None, *rows))


def _cells(branch: Branch) -> list[Markup]:
    lines = element("code", None, f"{branch.lines.replace(' ', _KEPT)}{branch.names}")
    numbers = (str(branch.layers), figures.size(branch.size), figures.size(branch.own))
    return [
        element("td", _LEFT, lines),
        element("td", _LEFT, element("code", None, branch.id)),
        *(element("td", _RIGHT, number.replace(" ", _KEPT)) for number in numbers),
    ]

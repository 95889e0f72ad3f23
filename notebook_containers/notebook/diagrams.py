"""The layer diagram: images side by side, their layers, which of these are the same object on disk, and what that saves.

One object shows itself everywhere: data for JupyterLab's own renderer, HTML that survives the sanitiser, text for everything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from notebook_containers.commands import figures
from notebook_containers.commands.layers import ImageStack, LayerBox, Sharing, as_text, instruction_words
from notebook_containers.commands.text import one_line, plain
from notebook_containers.notebook.html import Markup, data_image, element, join
from notebook_containers.notebook.layout import draw

__all__ = ["LAYERS_MIME", "ImageStack", "LayerBox", "LayerDiagram"]

LAYERS_MIME = "application/vnd.notebook-containers.layers+json"
_VERSION = 1


class LayerDiagram:
    """A picture of images and their layers; nothing is computed but what is given, the diagram never changes afterwards."""

    def __init__(self, stacks: Iterable[ImageStack]) -> None:
        self.stacks = tuple(stacks)
        self.sharing = Sharing.of(self.stacks)
        self._drawing = draw(self.stacks, self.sharing)

    def to_svg(self, *, themed: bool = True) -> str:
        """Return the diagram as SVG text; ``themed`` follows a Jupyter page's theme, with colours that suit both where there is none."""
        return self._drawing.to_svg(title=self._title(), description=self.to_text(), themed=themed)

    def to_text(self) -> str:
        """Return the diagram as text: each image with its layers, top first, marks for what is shared, and the figures."""
        return as_text(self.stacks, self.sharing)

    def to_html(self) -> str:
        """Return a figure with the picture, the figures in words, and a table of all numbers; it needs no script, style or network."""
        picture = data_image(self.to_svg(themed=False), f"{self._title()}. {self.sharing.sentence()}.")
        caption = element("figcaption", None, self.sharing.sentence())
        if not self.stacks:
            return element("figure", None, picture)
        return join(
            element("figure", None, picture, caption), element("details", None, element("summary", None, "The numbers"), self._table())
        )

    def to_json(self) -> dict[str, object]:
        """Return the data and the drawing, for a front end that draws with its own theme (``version`` changes when its shape does)."""
        return {
            "version": _VERSION,
            "title": self._title(),
            "figures": self.sharing.sentence(),
            "images": [
                {
                    "name": plain(stack.name, limit=500),
                    "id": stack.id,
                    "size": stack.size,
                    "layers": [_layer_json(layer, self.sharing) for layer in stack.layers],
                }
                for stack in self.stacks
            ],
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
        """Show the diagram in any front end; IPython calls this, and picks from the bundle itself."""
        return {LAYERS_MIME: self.to_json(), "text/html": str(self.to_html()), "text/plain": self.to_text()}

    def _title(self) -> str:
        names = [one_line(stack.name, limit=60) for stack in self.stacks]
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        return f"Layers of {shown}" if names else "No images"

    def _table(self) -> Markup:
        heads = ("Image", "Instruction", "Size", "Bytes", "Layer", "Mark", "In images")
        rows = [row for stack in self.stacks for row in _rows(stack, self.sharing)]
        head = element("tr", None, *(element("th", None, word) for word in heads))
        return element("table", None, element("thead", None, head), element("tbody", None, *rows))


def _rows(stack: ImageStack, sharing: Sharing) -> Iterable[Markup]:
    for layer in reversed(stack.layers):
        shared = None if layer.empty else sharing.shared.get(layer.diff_id)
        lead, rest = instruction_words(layer.instruction)
        cells = (
            one_line(stack.name),
            element("code", None, f"{lead} {rest}".strip()),
            "-" if layer.empty else figures.size(layer.size),
            "-" if layer.empty else str(layer.size),
            "no layer" if layer.empty else element("code", None, layer.diff_id.removeprefix("sha256:")[:12]),
            shared.mark if shared else "",
            "" if layer.empty else str(shared.images if shared else 1),
        )
        yield element("tr", None, *(element("td", None, cell) for cell in cells))


def _layer_json(layer: LayerBox, sharing: Sharing) -> dict[str, object]:
    shared = None if layer.empty else sharing.shared.get(layer.diff_id)
    return {
        "diff_id": layer.diff_id,
        "instruction": plain(layer.instruction, limit=2000),
        "size": layer.size,
        "empty": layer.empty,
        "mark": shared.mark if shared else "",
        "images": shared.images if shared else 1,
    }

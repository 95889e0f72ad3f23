"""A drawing as plain shapes in pixel coordinates, written as SVG with the page's theme or with colours that suit light and dark.

Text stands only on filled shapes, so that it can be read whatever the page's background is. Shapes name a role, never a colour.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from notebook_containers.commands.text import plain
from notebook_containers.lean import dataclass
from notebook_containers.notebook.html import Markup, element

PALETTE = ("#1f6fb2", "#b3541e", "#2e7d4f", "#8e4a9e", "#8a6100", "#b03a5b", "#0f7680", "#5f6b1f")
"""Fills for things that are the same: white text on each has a contrast of at least 4.5 to 1."""

DRAWING_MIME = "application/vnd.notebook-containers.drawing+json"
"""A drawing and a table of the same facts, for a front end that draws with its own theme."""
UI_FONT = "var(--jp-ui-font-family, system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif)"
CODE_FONT = "var(--jp-code-font-family, ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace)"
CODE_WIDTH = 0.61
"""Width of a character of a code font, in em."""

_ROLES = {
    "head": ("#3b4754", "#ffffff", ""),
    "own": ("var(--jp-layout-color2, #e6e9ed)", "var(--jp-ui-font-color1, #24292f)", "var(--jp-border-color1, #b4bcc6)"),
    "empty": ("var(--jp-layout-color1, #f5f6f8)", "var(--jp-ui-font-color2, #57606a)", "var(--jp-border-color2, #ccd2d9)"),
}
_NEUTRAL = {"fill": 0, "ink": 1, "stroke": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A filled rectangle, a text on one line (``x``, ``y`` its baseline) or a ribbon to (``x2``, ``y2``) of height ``height``.

    ``role`` is ``head``, ``own``, ``empty`` or ``shared-<number>``; a text has the ink that goes with that fill, ``inverse`` swaps the two.
    ``lead`` is the bold beginning of a text, ``title`` is shown on hover.
    """

    kind: Literal["rect", "text", "ribbon"]
    role: str
    x: float
    y: float
    width: float = 0
    height: float = 0
    x2: float = 0
    y2: float = 0
    radius: float = 4
    text: str = ""
    lead: str = ""
    title: str = ""
    size: float = 12
    anchor: Literal["start", "middle", "end"] = "start"
    code: bool = False
    strong: bool = False
    opacity: float = 1
    inverse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Shapes, back to front, on a transparent ground of this size."""

    width: float
    height: float
    shapes: tuple[Shape, ...]

    def to_svg(self, *, title: str, description: str, themed: bool) -> Markup:
        """Return the SVG; ``themed`` lets the page's ``--jp-`` variables decide neutral colours and fonts, else every value is literal."""
        attributes: dict[str, str | float] = {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {self.width:.0f} {self.height:.0f}",
            "width": round(self.width),
            "height": round(self.height),
            "style": "max-width:100%;height:auto",
            "role": "img",
            "font-family": _literal(UI_FONT, themed=themed),
        }
        shapes = (_write(shape, themed=themed) for shape in self.shapes)
        return element("svg", attributes, element("title", None, title), element("desc", None, description), *shapes)

    def to_json(self) -> dict[str, object]:
        """Return the drawing for a front end that draws it itself; members equal to their default are left out."""
        default = Shape(kind="rect", role="", x=0, y=0)
        return {
            "width": round(self.width),
            "height": round(self.height),
            "shapes": [
                {key: _json(value) for key, value in asdict(shape).items() if key in _ALWAYS or value != getattr(default, key)}
                for shape in self.shapes
            ],
        }


_ALWAYS = frozenset({"kind", "role", "x", "y"})


def fit(text: str, width: float, size: float) -> str:
    """Return as much code text as fits into a width, cut with ``…``."""
    room = int(width / (size * CODE_WIDTH))
    return text if len(text) <= room else text[: max(room - 1, 0)].rstrip() + "…"


def colour(role: str, part: Literal["fill", "ink", "stroke"]) -> str:
    """Return a role's colour as CSS: white on a filled palette colour for what is shared."""
    if role.startswith("shared-"):
        return "#ffffff" if part == "ink" else PALETTE[int(role[7:]) % len(PALETTE)] if part == "fill" else ""
    return _ROLES[role][_NEUTRAL[part]]


def _write(shape: Shape, *, themed: bool) -> Markup:
    title = (element("title", None, shape.title),) if shape.title else ()
    if shape.kind == "text":
        return _write_text(shape, title, themed=themed)
    attributes: dict[str, str | float]
    if shape.kind == "ribbon":
        attributes = {"d": _ribbon(shape)}
    else:
        attributes = {"x": shape.x, "y": shape.y, "width": shape.width, "height": shape.height, "rx": shape.radius}
    part: Literal["fill", "ink"] = "ink" if shape.inverse else "fill"
    style = f"fill:{_literal(colour(shape.role, part), themed=themed)}"
    stroke = colour(shape.role, "stroke") if not shape.inverse else ""
    style += f";stroke:{_literal(stroke, themed=themed)}" if stroke and shape.kind == "rect" else ""
    style += f";opacity:{shape.opacity:g}" if shape.opacity != 1 else ""
    return element("rect" if shape.kind == "rect" else "path", {**attributes, "style": style}, *title)


def _write_text(shape: Shape, title: tuple[Markup, ...], *, themed: bool) -> Markup:
    ink = colour(shape.role, "fill" if shape.inverse else "ink")
    style = f"fill:{_literal(ink, themed=themed)};font-size:{shape.size:g}px"
    style += f";text-anchor:{shape.anchor}" if shape.anchor != "start" else ""
    style += f";font-family:{_literal(CODE_FONT, themed=themed)}" if shape.code else ""
    style += ";font-weight:600" if shape.strong else ""
    style += f";opacity:{shape.opacity:g}" if shape.opacity != 1 else ""
    lead = (element("tspan", {"font-weight": "700"}, shape.lead),) if shape.lead else ()
    return element("text", {"x": shape.x, "y": shape.y, "style": style}, *title, *lead, shape.text)


def _ribbon(shape: Shape) -> str:
    x1, y1, x2, y2, height, middle = shape.x, shape.y, shape.x2, shape.y2, shape.height, (shape.x + shape.x2) / 2
    return (
        f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
        f"V{y2 + height:.1f}C{middle:.1f} {y2 + height:.1f} {middle:.1f} {y1 + height:.1f} {x1:.1f} {y1 + height:.1f}Z"
    )


def _literal(css: str, *, themed: bool) -> str:
    """Return the fallback of ``var(--name, fallback)`` where there is no page to give the variable."""
    if themed or not css.startswith("var("):
        return css
    return css.partition(",")[2].strip().removesuffix(")")


def _json(value: object) -> object:
    if isinstance(value, str):
        return plain(value, limit=4000)
    return round(value, 1) if isinstance(value, float) else value

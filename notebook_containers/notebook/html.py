"""HTML and SVG built from elements, never from text pieces: what comes from outside can only become text or an attribute's value."""

from __future__ import annotations

import base64
import html as _html
from collections.abc import Mapping

from notebook_containers.commands.text import TEXT_LIMIT, plain

_HTML = """a b br caption code details div em figcaption figure img p pre progress small span strong summary table tbody td th thead tr"""
_SVG = """svg g rect path circle line text tspan title desc"""
_TAGS = frozenset(f"{_HTML} {_SVG}".split())
_EMPTY = frozenset({"br", "img"})


class Markup(str):
    """Text that is markup already; only this module makes it."""

    __slots__ = ()


def html(text: str | bytes, *, limit: int = TEXT_LIMIT) -> Markup:
    """Return text as HTML and XML text: control sequences taken out, ``& < > " '`` escaped, at most ``limit`` characters and a mark."""
    return Markup(_html.escape(plain(text, limit=limit), quote=True))


def element(name: str, attributes: Mapping[str, str | float] | None = None, *children: str) -> Markup:
    """Return an element: children and attribute values are escaped unless they are :class:`Markup`; unknown tags are a ValueError."""
    if name not in _TAGS:
        raise ValueError(f"<{name}> is no element that is shown here")
    written = "".join(f' {key}="{_value(value)}"' for key, value in (attributes or {}).items())
    if name in _EMPTY:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*parts: str) -> Markup:
    """Return the parts one after the other; what is no :class:`Markup` is escaped."""
    return Markup("".join(part if isinstance(part, Markup) else html(part) for part in parts))


def data_image(svg: str, alt: str) -> Markup:
    """Return an SVG as an ``<img>`` that survives JupyterLab's sanitiser, where an inline ``<svg>`` does not."""
    encoded = base64.b64encode(svg.encode()).decode()
    return element("img", {"alt": plain(alt, limit=2000), "src": f"data:image/svg+xml;base64,{encoded}"})


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return html(value, limit=10_000_000)
    return f"{value:.2f}".rstrip("0").rstrip(".")

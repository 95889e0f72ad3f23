"""Where each value of a resolved project comes from: file and line, the variables that filled it, or the default it is."""

from __future__ import annotations

from collections.abc import Iterator

from notebook_containers.compose.nodes import Node, Place, Use, leaves, plain
from notebook_containers.compose.showing import yaml_lines
from notebook_containers.oci.documents import JSON

_WIDEST = 72


def origin(place: Place) -> str:
    """Return where a value comes from, in one line: ``compose.yaml:3, TAG=1.25 from .env:1``."""
    if place.reason:
        return place.reason if place.reason.startswith(("default", "because")) else f"default: {place.reason}"
    where = f"{place.text.name}:{place.line}" if place.line else place.text.name
    return ", ".join([where, *dict.fromkeys(_use(use) for use in place.uses)])


def _use(use: Use) -> str:
    if use.value is None:
        return f"{use.name} is not set"
    if use.source == "default":
        return f"{use.name} is not set, the default stands in"
    return f"{use.name} from {use.source}"


def text(shown: Node) -> str:
    """Return the project as YAML in which every value has its origin behind it, as a comment."""
    lines = list(yaml_lines(shown))
    width = max((len(line) for line, node in lines if node is not None and len(line) <= _WIDEST), default=0)
    return "".join(f"{line:<{width}}  # {origin(node.place)}\n" if node is not None else f"{line}\n" for line, node in lines)


def rows(shown: Node) -> Iterator[dict[str, JSON]]:
    """Yield one row for each value: its path, the value, file, line and column, its variables and the reason of a default."""
    for path, node in leaves(shown):
        place = node.place
        stands = not place.reason
        yield {
            "path": path,
            "value": plain(node),
            "origin": origin(place),
            "file": place.text.name if stands else "",
            "line": place.line if stands else 0,
            "column": place.column if stands else 0,
            "variables": [{"name": use.name, "value": use.value, "source": use.source} for use in place.uses],
            "reason": place.reason,
        }

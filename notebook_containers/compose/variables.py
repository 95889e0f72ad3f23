"""Where variables come from: the environment first, then ``--env-file`` or ``.env``; each value knows who gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from notebook_containers.compose.nodes import Use
from notebook_containers.lean import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Some variables of one origin; ``lines`` are their lines in a file."""

    source: str
    values: Mapping[str, str]
    lines: Mapping[str, int] = field(default_factory=dict)


class Variables:
    """Variables of several layers, the first that has a name wins. A value is never read again."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)

    def find(self, name: str) -> Use:
        """Return the variable's value and who gives it; the value is None when nobody does."""
        for layer in self._layers:
            if name in layer.values:
                line = layer.lines.get(name)
                return Use(name=name, value=layer.values[name], source=f"{layer.source}:{line}" if line else layer.source)
        return Use(name=name, value=None, source="not set")

    def get(self, name: str) -> str | None:
        """Return the value alone."""
        return self.find(name).value

    def values(self) -> dict[str, str]:
        """Return every variable and its value."""
        found: dict[str, str] = {}
        for layer in reversed(self._layers):
            found.update(layer.values)
        return found

    def before(self, *layers: Layer) -> Variables:
        """Return the same with further layers behind these: what is known already wins."""
        return Variables([*self._layers, *layers])

    def after(self, *layers: Layer) -> Variables:
        """Return the same with further layers that win."""
        return Variables([*layers, *self._layers])

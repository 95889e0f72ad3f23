"""Reading the members of a checked mapping by their type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from notebook_containers.compose import units
from notebook_containers.compose.nodes import Node, member

T = TypeVar("T")


class Section:
    """The members of a mapping, read by type; one that is absent gives the empty value of its type."""

    def __init__(self, node: Node | None) -> None:
        self._fields = node.fields if node else {}

    def text(self, key: str) -> str:
        """Return a text, "" when absent."""
        node = self._fields.get(key)
        return node.text() if node else ""

    def flag(self, key: str, *, otherwise: bool = False) -> bool:
        """Return a truth value."""
        found = self.maybe_flag(key)
        return otherwise if found is None else found

    def maybe_flag(self, key: str) -> bool | None:
        """Return a truth value, None when absent."""
        node = self._fields.get(key)
        return node.value if node and isinstance(node.value, bool) else None

    def integer(self, key: str) -> int | None:
        """Return a whole number (bytes for a size)."""
        node = self._fields.get(key)
        return units.integer(node.text()) if node and node.text() else None

    def number(self, key: str) -> float | None:
        """Return a number."""
        node = self._fields.get(key)
        return float(node.text()) if node and node.text() else None

    def seconds(self, key: str) -> float | None:
        """Return a duration's seconds."""
        node = self._fields.get(key)
        return units.seconds(node.text()) if node and node.text() else None

    def mode(self, key: str) -> int | None:
        """Return a file mode as a number."""
        node = self._fields.get(key)
        return units.file_mode(node.text()) if node and node.text() else None

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(one.text() for one in self.nodes(key))

    def command(self, key: str) -> tuple[str, ...] | None:
        """Return a command's words, None when absent or null."""
        node = self._fields.get(key)
        return None if node is None or node.value is None else tuple(one.text() for one in node.items)

    def pairs(self, key: str) -> dict[str, str]:
        """Return names with their texts."""
        return {name: one.text() for name, one in self.members(key).items()}

    def variables(self, key: str) -> dict[str, str | None]:
        """Return names with their texts, None where there is none."""
        return {name: None if one.value is None else one.text() for name, one in self.members(key).items()}

    def hosts(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return names with their addresses."""
        return {name: tuple(address.text() for address in one.items) for name, one in self.members(key).items()}

    def nodes(self, key: str) -> list[Node]:
        """Return a list's items as they are."""
        node = self._fields.get(key)
        return node.items if node else []

    def members(self, key: str) -> Mapping[str, Node]:
        """Return a mapping's members as they are, without ``x-`` ones."""
        node = self._fields.get(key)
        return {name: one for name, one in node.fields.items() if not name.startswith("x-")} if node else {}

    def section(self, *keys: str) -> Section:
        """Return a mapping below."""
        node = self._fields.get(keys[0])
        return Section(member(node, *keys[1:]) if node else None)

    def has(self, key: str) -> bool:
        """Tell whether a key is there."""
        return key in self._fields

    def each(self, key: str, read: Callable[[Section], T]) -> tuple[T, ...]:
        """Read every item of a list of mappings."""
        return tuple(read(Section(node)) for node in self.nodes(key))

    def every(self, key: str, read: Callable[[Section], T]) -> dict[str, T]:
        """Read every member of a mapping of mappings."""
        return {name: read(Section(node)) for name, node in self.members(key).items()}

"""Compose text to a canonical mapping: YAML with places, interpolation, and errors that point into the file.

YAML 1.2's core schema (so ``22:22`` stays text), no tags, no duplicate keys; variables are filled in after parsing and never parsed
again. The result is plain data and, for each path in it (``services.web.ports[0]``), where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from notebook_containers.compose import interpolation
from notebook_containers.errors import ComposeError, InvalidArgument
from notebook_containers.lean import dataclass, field
from notebook_containers.oci.documents import JSON

_MAX_NODES = 100_000


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema's few implicit types."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("tag:yaml.org,2002:float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", r"^(?:<<)$", "<"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A parsed file: its data, the line and column (from 1) of every path, and the variables it was filled with."""

    name: str
    lines: tuple[str, ...]
    data: Mapping[str, JSON]
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def error(self, path: str, message: str, *, hint: str = "") -> ComposeError:
        """Return an error at the place of a path (or of the nearest path above it)."""
        known = path
        while known and known not in self.places:
            known = re.sub(r"(\[\d+\]|\.?[^.\[]+)$", "", known)
        line, column = self.places.get(known, (1, 1))
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        return ComposeError(
            f"{self.name}:{line}:{column}: {path}: {message}", hint=hint, file=self.name, line=line, column=column, source=source
        )


def load(text: str, *, name: str = "compose.yaml", variables: Mapping[str, str] | None = None) -> Source:
    """Parse a compose file and fill variables in; raises ComposeError with file, line and column."""
    lines = tuple(text.splitlines())
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        source = lines[line - 1] if line <= len(lines) else ""
        raise ComposeError(f"{name}:{line}:{column}: {err.problem}", file=name, line=line, column=column, source=source) from err
    except (yaml.YAMLError, RecursionError) as err:
        raise ComposeError(f"{name}: not readable as YAML: {err}", file=name) from err
    reader = _Reader(name, lines, dict(variables or {}))
    data = reader.value(node, "") if node is not None else None
    if not isinstance(data, dict):
        raise ComposeError(f"{name}: a compose file is a mapping with services", hint="begin with 'services:'", file=name)
    return Source(name=name, lines=lines, data=data, places=reader.places, variables=reader.variables)


class _Reader:
    """Turns YAML nodes into data, remembering places and counting nodes (aliases are followed, so bombs are caught by the count)."""

    def __init__(self, name: str, lines: tuple[str, ...], variables: Mapping[str, str]) -> None:
        self.name, self.lines, self.variables = name, lines, variables
        self.places: dict[str, tuple[int, int]] = {}
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node, path: str) -> JSON:
        self._count += 1
        self.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
        if self._count > _MAX_NODES or id(node) in self._open:
            raise self._error(path, "the file is too large once its aliases are followed")
        self._open.add(id(node))
        try:
            if not isinstance(node, yaml.ScalarNode) and node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
                raise self._error(path, f"the YAML tag {node.tag} is not allowed")
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, f"{path}[{i}]") for i, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, JSON]:
        result: dict[str, JSON] = {}
        merged: dict[str, JSON] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in sources:
                    found = self.value(source, path)
                    merged = {**(found if isinstance(found, dict) else {}), **merged}
                continue
            key = str(key_node.value)
            where = f"{path}.{key}" if path else key
            self.places[where] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key in result:
                raise self._error(where, "the key stands twice")
            result[key] = self.value(value_node, where)
        return {**merged, **result}

    def _scalar(self, node: yaml.Node, path: str) -> JSON:
        text = str(node.value)
        kind = node.tag.rpartition(":")[2]
        if kind in ("str", "merge"):
            try:
                return interpolation.fill(text, self.variables)
            except InvalidArgument as err:
                raise self._error(path, err.message, hint=err.hint) from err
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        raise self._error(path, f"the YAML tag {node.tag} is not allowed")

    def _error(self, path: str, message: str, *, hint: str = "") -> ComposeError:
        return Source(name=self.name, lines=self.lines, data={}, places=self.places).error(path, message, hint=hint)

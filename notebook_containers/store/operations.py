"""File operations on a snapshot, as data: what the builder asks for, and what travels to the worker as JSON."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TypeAlias

from notebook_containers.lean import dataclass, field
from notebook_containers.oci.image import Digest
from notebook_containers.store import held


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDirectory:
    """A directory of this machine; links in it are followed inside it only."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersView:
    """The merged view of layers, bottom first."""

    layers: tuple[Digest, ...]


Source: TypeAlias = HostDirectory | LayersView


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDirectory:
    """Make a directory; missing parents get 0755 and the same owner; one that exists stays as it is."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyTree:
    """Copy a file, or the contents of a directory, from ``path`` in the source.

    A directory's contents go into ``destination``, which is made if need be. A file goes to ``destination``, or into it under its own
    name when that is a directory or ends in ``/``; it takes the place of a file or link there. A link named as source is followed;
    links inside are copied. Modes, times and attributes are kept; the owner is root from the host and kept from layers, unless
    ``uid``/``gid`` are given; ``mode`` (a number, or words as chmod's) is for everything but links.
    ``skip``: paths relative to ``path``, left out with all below. ``ready``: contents that were read before; such a file is not opened.
    """

    source: Source
    path: str
    destination: str
    uid: int | None = None
    gid: int | None = None
    mode: int | str | None = None
    skip: frozenset[str] = field(default_factory=frozenset)
    ready: held.Ready = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractTar:
    """Unpack an archive (tar, and that in gzip, bzip2, xz or zstd) below ``destination``, which is made if need be."""

    source: Source
    path: str
    destination: str
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFile:
    """Put a file at ``path`` (inside it, as ``name``, when that is a directory and ``name`` is given)."""

    path: str
    data: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    name: str = ""


Operation: TypeAlias = MakeDirectory | CopyTree | ExtractTar | WriteFile

_KINDS: dict[str, type[Operation]] = {cls.__name__: cls for cls in (MakeDirectory, CopyTree, ExtractTar, WriteFile)}


def to_json(operation: Operation) -> dict[str, object]:
    """Return the operation as JSON members."""
    result: dict[str, object] = {"kind": type(operation).__name__}
    for name in operation.__slots__:
        value = getattr(operation, name)
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        elif isinstance(value, frozenset):
            value = sorted(value)
        elif isinstance(value, HostDirectory):
            value = {"directory": str(value.path)}
        elif isinstance(value, LayersView):
            value = {"layers": list(value.layers)}
        elif name == "ready":
            value = held.to_json(value)
        result[name] = value
    return result


def from_json(data: dict[str, object], contents: int = -1) -> Operation:
    """Return the operation of :func:`to_json`'s members, which must be ours (nothing is checked).

    ``contents`` is a descriptor that gives the contents of what is ready, operation after operation.
    """
    values = dict(data)
    cls = _KINDS[str(values.pop("kind"))]
    if isinstance(values.get("data"), str):
        values["data"] = base64.b64decode(str(values["data"]))
    if isinstance(skip := values.get("skip"), list):
        values["skip"] = frozenset(skip)
    if isinstance(source := values.get("source"), dict):
        directory = "directory" in source
        values["source"] = HostDirectory(path=Path(source["directory"])) if directory else LayersView(layers=tuple(source["layers"]))
    if isinstance(ready := values.get("ready"), list):
        values["ready"] = held.from_json(ready, contents)
    return cls(**values)  # type: ignore[arg-type]

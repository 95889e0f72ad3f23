"""Cache keys, and the material to tell why a key is not the one of last time.

A step's key is the digest of its material: the layers below it, what it does, and what it takes in; content, modes and names, never
times. The material is kept, apart from the row of the key, under the place where the step stands, so that the next build that finds no
row can say what changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Self

from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.image import Digest, chain_id

VERSION = 1
CACHE_LABEL = "io.github.notebook-containers.cache.v1"
_MOST_FILES = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a key is made of.

    ``parent`` is the chain id below (empty: scratch), ``what`` the work itself as JSON members, ``variables`` the environment,
    ``trees`` the digest of each source. For reasons only: ``files`` path → kind, mode and short digest of what is in them, ``arguments``
    the values of the ARGs that count.
    """

    parent: str
    what: Mapping[str, JSON]
    variables: Mapping[str, str] = field(default_factory=dict)
    trees: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)

    def key(self) -> str:
        """Return the cache key; the order of variables counts, since a program may see it."""
        parts: list[JSON] = [VERSION, self.parent, dict(self.what), [list(p) for p in self.variables.items()], dict(self.trees)]
        return _sha256(json.dumps(parts, separators=(",", ":")))

    def to_text(self) -> str:
        """Return the material as JSON text; very many files are left out (reasons then name none)."""
        files = dict(self.files) if len(self.files) <= _MOST_FILES else {}
        document = {
            "parent": self.parent,
            "what": dict(self.what),
            "variables": dict(self.variables),
            "trees": dict(self.trees),
            "files": files,
            "arguments": dict(self.arguments),
        }
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """Read the text of :meth:`to_text`; None for anything else."""
        try:
            document = json.loads(text)
            return cls(**{name: document[name] for name in ("parent", "what", "variables", "trees", "files", "arguments")})
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """The layers below a step, bottom first, and what stands for their files: equal layers are equal files, however they were made."""

    layers: tuple[Digest, ...] = ()
    chain: str = ""

    @classmethod
    def of(cls, layers: Iterable[Digest]) -> Self:
        """Return the value for layers, bottom first."""
        listed = tuple(layers)
        return cls(layers=listed, chain=chain_id(listed) if listed else "")

    def with_layer(self, layer: Digest) -> Self:
        """Return the value with one more layer on top; costs the same at any height (image-spec config.md, "Layer ChainID")."""
        chain = Digest.of(f"{self.chain} {layer}".encode()) if self.chain else layer
        return replace(self, layers=(*self.layers, layer), chain=chain)


def place_key(build: str, stage: str, text: str) -> str:
    """Return the row's key for the material of an instruction at its place: this build (context and file), stage and text."""
    return "last:" + _sha256(json.dumps([VERSION, build, stage, text]))


def past_key(place: str) -> str:
    """Return the key of the row that remembers what an order of instructions cost the step at a place."""
    return "past:" + place.removeprefix("last:")


def image_key(config: bytes) -> str:
    """Return the row's key that remembers when an image with this config (times left blank) was first made."""
    return "image:" + hashlib.sha256(config).hexdigest()


def digest_of(pieces: Iterable[bytes]) -> str:
    """Return the sha256 of pieces, each with its length before it."""
    total = hashlib.sha256()
    for piece in pieces:
        total.update(b"%d:" % len(piece))
        total.update(piece)
    return total.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

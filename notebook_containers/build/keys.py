"""Cache keys, and why a key is not the one of last time.

A step's key is the digest of its material: the layers below it, what it does, and what it takes in; content, modes and names, never
times. The material is kept, apart from the row of the key, under the place where the step stands, so that the next build that finds no
row can say what changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.image import Digest, chain_id

VERSION = 1
_MOST_FILES = 30_000
_MOST_NAMED = 3

CACHED = "cached"
METADATA = "changes no file"
NEVER = "never built with these inputs"
NO_CACHE = "--no-cache"
GONE = "its layer is no longer in the store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a key is made of.

    ``parent`` is the chain id below (empty: scratch), ``what`` the work itself as JSON members, ``variables`` the environment,
    ``trees`` the digest of each source, ``files`` path → short digest of what is in them (for reasons only).
    """

    parent: str
    what: Mapping[str, JSON]
    variables: Mapping[str, str] = field(default_factory=dict)
    trees: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

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
        }
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """Read the text of :meth:`to_text`; None for anything else."""
        try:
            document = json.loads(text)
            return cls(**{name: document[name] for name in ("parent", "what", "variables", "trees", "files")})
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


def image_key(config: bytes) -> str:
    """Return the row's key that remembers when an image with this config (times left blank) was first made."""
    return "image:" + hashlib.sha256(config).hexdigest()


def reason(now: Material, last: Material | None, *, parent_line: int) -> str:
    """Say in words why ``now`` has no row although ``last`` had one; ``parent_line`` is where the files below come from."""
    if last is None:
        return NEVER
    found = [
        *([f"the parent changed at line {parent_line}"] if now.parent != last.parent else []),
        *_changed_files(now, last),
        *_changed_variables(now.variables, last.variables),
        *(["the instruction changed"] if now.what != last.what else []),
    ]
    return " and ".join(found) or GONE


def _changed_files(now: Material, last: Material) -> list[str]:
    if now.trees == last.trees:
        return []
    if not now.files or not last.files:
        return ["the files changed"]
    changed = sorted(p for p in now.files if last.files.get(p, now.files[p]) != now.files[p])
    added = sorted(set(now.files) - set(last.files))
    gone = sorted(set(last.files) - set(now.files))
    # a directory's own line follows from its entries' being added or gone
    words = [_named("file", changed, "changed"), _named("file", added, "is new"), _named("file", gone, "is gone")]
    return [w for w in words if w] or ["the files changed"]


def _changed_variables(now: Mapping[str, str], last: Mapping[str, str]) -> list[str]:
    names = sorted(n for n in {*now, *last} if now.get(n) != last.get(n))
    if names:
        return [_named("variable", names, "changed")]
    return ["the order of variables changed"] if list(now) != list(last) else []


def _named(noun: str, names: Sequence[str], verb: str) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{noun} {shown}{more} {verb}"


def digest_of(pieces: Iterable[bytes]) -> str:
    """Return the sha256 of pieces, each with its length before it."""
    total = hashlib.sha256()
    for piece in pieces:
        total.update(b"%d:" % len(piece))
        total.update(piece)
    return total.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

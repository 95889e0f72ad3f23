"""The build cache as an image: ``--cache-to`` writes one, ``--cache-from`` takes its steps as if they had been done here.

A cache image is an ordinary OCI image whose layers are those of the cached steps and whose config has a label with their keys; so any
registry and any OCI layout can hold it. ``inline`` puts the label into the built image itself. A key says everything that a step depends
on, so a step of a foreign cache is taken only where it would have done the same; whether the layers are what the keys promise is a
matter of trust in who wrote the cache.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.build.keys import CACHE_LABEL
from notebook_containers.build.solver import CachedStep
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import Error, InvalidArgument, InvalidDocument
from notebook_containers.lean import dataclass
from notebook_containers.oci.documents import JSON, untrusted_json
from notebook_containers.oci.image import ContainerConfig, Digest, ImageConfig, RootFS
from notebook_containers.oci.reference import Reference

if TYPE_CHECKING:
    from notebook_containers.build.build import BuildResult
    from notebook_containers.engine.images import Images
    from notebook_containers.store.images import ImageRecord

_KEYS = {
    "from": {"registry": {"ref"}, "local": {"src"}},
    "to": {"registry": {"ref", "mode"}, "local": {"dest", "mode"}, "inline": set[str]()},
}
_OTHERS = ("gha", "s3", "azblob")
_MOST_STEPS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheWord:
    """One ``--cache-from`` or ``--cache-to``: ``place`` is a reference or a directory; ``all`` is ``mode=max``."""

    type: str
    place: str = ""
    all: bool = False


def parse(word: str, direction: str) -> CacheWord:
    """Read ``type=registry,ref=NAME``, ``type=local,src=DIR`` (``dest=DIR``), ``type=inline`` or a reference alone.

    ``direction`` is ``from`` or ``to``. Raises InvalidArgument.
    """
    option, known = f"--cache-{direction}", _KEYS[direction]
    if "=" not in word and word:
        return CacheWord(type="registry", place=word) if word != "inline" or direction == "from" else CacheWord(type="inline")
    values = dict(part.strip().partition("=")[::2] for part in next(csv.reader([word]), []))
    kind = values.pop("type", "")
    if kind not in known:
        why = "is kept by a service that this machine does not know" if kind in _OTHERS else "is unknown"
        raise InvalidArgument(f"{option} {word!r}: the type {kind!r} {why}", hint="use " + ", ".join(known))
    unknown = sorted(set(values) - known[kind])
    if unknown:
        raise InvalidArgument(
            f"{option} {word!r}: {kind} has no {unknown[0]!r}", hint="it knows " + (", ".join(sorted(known[kind])) or "nothing")
        )
    place = values.get("ref") or values.get("src") or values.get("dest") or ""
    example = "ref=NAME" if kind == "registry" else "src=DIRECTORY" if direction == "from" else "dest=DIRECTORY"
    if not place and kind != "inline":
        raise InvalidArgument(f"{option} {word!r} says no place", hint=f"such as type={kind},{example}")
    mode = values.get("mode", "min")
    if mode not in ("min", "max"):
        raise InvalidArgument(f"{option} {word!r}: mode {mode!r} is unknown", hint="use min or max")
    return CacheWord(type=kind, place=place, all=mode == "max")


def take(parts: Parts, images: Images, word: CacheWord, directory: Path) -> int:
    """Take the steps of a cache; returns how many came. Raises what reading it raises, InvalidDocument for what is no cache.

    The layers are kept by the rows of their steps alone, as if the steps had been done here.
    """
    known = {record.id for record in parts.store.images.list()}
    with parts.store.lease():
        if word.type == "registry":
            found = [images.pull(word.place).record]
        else:
            found = [image.record for image in images.load_directory(directory / word.place, named=False)]
        count = sum(_take(parts, record) for record in found)
        for record in found:
            if record.id not in known:
                parts.store.images.remove(record.id)
    if not count:
        raise InvalidDocument(f"{word.place} holds no build cache", hint="write one with --cache-to, or build with --cache-to type=inline")
    return count


def _take(parts: Parts, record: ImageRecord) -> int:
    text = record.config.config.labels.get(CACHE_LABEL, "")
    if not text:
        return 0
    steps = untrusted_json(text.encode(), what="the build cache").get("steps")
    if not isinstance(steps, list) or len(steps) > _MOST_STEPS:
        raise InvalidDocument("the build cache is none of ours")
    rows = [row for step in steps if (row := _row(parts, step)) is not None]
    with parts.store.records.transaction():
        for key, diff_id, document in rows:
            parts.store.records.cache_put(key, diff_id, document)
    return len(rows)


def _row(parts: Parts, step: JSON) -> tuple[str, Digest | None, str] | None:
    """Return the row of a step; None for one whose layer did not come, or that is not well formed."""
    if not isinstance(step, list) or len(step) != 4 or not all(isinstance(value, str) for value in step):
        return None
    key, layer, created, text = (str(value) for value in step)
    if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
        return None
    try:
        diff_id = Digest(layer) if layer else None
    except Error:
        return None
    if diff_id is not None and not parts.store.layers.has(diff_id):
        return None
    return key, diff_id, json.dumps({"created": created[:40], "seconds": 0, "text": text[:200]})


def label_of(steps: Iterable[CachedStep], layers: Sequence[Digest] | None) -> dict[str, str]:
    """Return the label that says which steps the layers are of; ``layers``: only those steps (None: all)."""
    wanted = None if layers is None else set(layers)
    rows = [[s.key, str(s.layer or ""), s.created, s.text] for s in steps if wanted is None or s.layer is None or s.layer in wanted]
    return {CACHE_LABEL: json.dumps({"steps": rows}, separators=(",", ":"))}


def give(parts: Parts, images: Images, built: BuildResult, word: CacheWord, *, directory: Path) -> None:
    """Write the steps of a build as a cache image to a registry or a directory (``inline`` is in the image already)."""
    if word.type == "inline":
        return
    record, steps = built.image, built.cached
    label = label_of(steps, None if word.all else record.diff_ids)
    own = [step.layer for step in steps if step.layer is not None and (word.all or step.layer in record.diff_ids)]
    layers = tuple(dict.fromkeys([*record.diff_ids, *own])) if word.all else tuple(dict.fromkeys(record.diff_ids))
    cache = _image(parts, record.config, layers, label)
    try:
        if word.type == "local":
            images.save_directory([str(cache.id)], directory / word.place)
        else:
            reference = Reference.parse(word.place).tagged()
            parts.store.images.tag(cache.id, reference)
            images.push(word.place)
    finally:
        parts.store.images.remove(cache.id)


def _image(parts: Parts, like: ImageConfig, layers: Sequence[Digest], label: Mapping[str, str]) -> ImageRecord:
    config = ImageConfig(
        architecture=like.architecture, variant=like.variant, os=like.os, config=ContainerConfig(labels=dict(label)),
        rootfs=RootFS(diff_ids=tuple(layers)),
    )  # fmt: skip
    return parts.store.images.put(config, [parts.store.layers.get(diff_id) for diff_id in layers])

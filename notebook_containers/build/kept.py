"""What a build keeps so that its steps can be opened later: every step of a finished image, and the one that failed.

Both are rows of the build cache. The failed step's row holds what the step had changed until then as a layer, until the next build of the
same Dockerfile or until the cache is pruned; layers that no row and no image names are garbage for the next collection.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from notebook_containers.errors import InvalidDocument
from notebook_containers.lean import dataclass
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.oci.image import ContainerConfig, Digest
from notebook_containers.store.records import Records

FAILED = "failed:"
_STEPS = "steps:"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptStep:
    """A step: ``layers`` are those after it, bottom first, of which the last is its ``own`` if it made one; ``config`` is as after it.

    ``stage`` is the number of its stage."""

    index: int
    line: int
    text: str
    stage: int
    layers: tuple[Digest, ...]
    own: bool
    config: ContainerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFailure:
    """A RUN that failed: the layers ``before`` it, what it had changed (None: nothing), and what its command saw as ``config``."""

    line: int
    text: str
    before: tuple[Digest, ...]
    layer: Digest | None
    config: ContainerConfig
    exit_status: int
    verdict: str
    output: str

    @property
    def layers(self) -> tuple[Digest, ...]:
        """All layers as the command left them."""
        return self.before if self.layer is None else (*self.before, self.layer)


def failed_key(place: str) -> str:
    """Return the row's key for the step that failed last in this build (context and file)."""
    return FAILED + hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()


def keep_failure(records: Records, place: str, failure: KeptFailure) -> str:
    """Write the row, in place of an older one; return its key."""
    document = {
        "text": f"failed: {failure.text[:200]}",
        "line": failure.line,
        "instruction": failure.text,
        "before": list(failure.before),
        "config": failure.config.to_json(),
        "exit_status": failure.exit_status,
        "verdict": failure.verdict,
        "output": failure.output,
    }
    key = failed_key(place)
    records.cache_put(key, failure.layer, json.dumps(document))
    return key


def failure(records: Records, key: str) -> KeptFailure | None:
    """Read the row of a step that failed; None when it is gone."""
    row = records.cache_get(key)
    if row is None:
        return None
    document = untrusted_json(row.document.encode(), what="failed step")
    match document:
        case {"line": int(line), "instruction": str(text), "before": list(before), "config": dict(config), "exit_status": int(status)}:
            return KeptFailure(
                line=line, text=text, before=tuple(Digest(str(one)) for one in before), layer=row.diff_id,
                config=ContainerConfig.from_json(config), exit_status=status, verdict=str(document.get("verdict", "")),
                output=str(document.get("output", "")),
            )  # fmt: skip
    raise InvalidDocument("the row of a failed step cannot be read", hint="nbc builder prune --all")


def last_failure(records: Records) -> str:
    """Return the key of the step that failed last in any build, or an empty text."""
    return next((row.key for row in records.cache_list() if row.key.startswith(FAILED)), "")


def release_failure(records: Records, place: str) -> None:
    """Let go of what failed last time; its layer is garbage then."""
    key = failed_key(place)
    if records.cache_get(key) is not None:
        records.cache_remove([key])


def keep_steps(records: Records, image: Digest, steps: Iterable[KeptStep]) -> None:
    """Remember an image's steps; nothing is written when they are known."""
    key, text = _STEPS + image.hex, _text(steps)
    row = records.cache_get(key)
    if row is None or row.document != text:
        records.cache_put(key, None, text)


def forget_steps(records: Records, image: Digest) -> None:
    """Forget an image's steps, with the image."""
    records.cache_remove([_STEPS + image.hex])


def steps(records: Records, image: Digest) -> tuple[KeptStep, ...]:
    """Return the steps of an image that was built here, in their order; empty for others."""
    row = records.cache_get(_STEPS + image.hex)
    document = json.loads(row.document) if row is not None else {"steps": []}
    return tuple(_step(document, one) for one in document["steps"])


def _text(steps: Iterable[KeptStep]) -> str:
    """Write each stage's layers and each different config once."""
    chains: dict[int, tuple[Digest, ...]] = {}
    configs: dict[int, ContainerConfig] = {}
    rows = []
    for step in steps:
        chains[step.stage] = step.layers
        if not configs or configs[len(configs) - 1] is not step.config:
            configs[len(configs)] = step.config
        rows.append([step.index, step.line, step.text, step.stage, len(step.layers), step.own, len(configs) - 1])
    document = {"chains": chains, "configs": [config.to_json() for config in configs.values()], "steps": rows}
    return json.dumps(document, separators=(",", ":"))


def _step(document: Mapping[str, Mapping[str, list[str]] | list[dict[str, object]]], row: list[object]) -> KeptStep:
    index, line, text, stage, height, own, config = row
    chains, configs = document["chains"], document["configs"]
    assert isinstance(chains, Mapping)
    assert isinstance(configs, list)
    return KeptStep(
        index=int(str(index)), line=int(str(line)), text=str(text), stage=int(str(stage)), own=bool(own),
        layers=tuple(Digest(one) for one in chains[str(stage)][: int(str(height))]),
        config=ContainerConfig.from_json(configs[int(str(config))]),  # type: ignore[arg-type]
    )  # fmt: skip

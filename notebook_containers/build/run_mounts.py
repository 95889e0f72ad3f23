"""The mounts of a RUN as the plan has them: variables replaced, defaults filled in (Dockerfile reference, "RUN --mount"). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from notebook_containers.build import instructions as ins, plan
from notebook_containers.build.run_flags import is_true
from notebook_containers.build.stages import Origin

_SIZE = re.compile(r"\d{1,15}[kmgtKMGT]?[bB]?\Z")
_SHARING = ("shared", "private", "locked")


def expand_mount(mount: ins.RunMount, values: Mapping[str, str], origin: Origin | None, agents: int) -> plan.RunMount:
    """Return the mount; ``values`` are its words with an absolute target, ``agents`` how many SSH mounts stand before it.

    Raises ValueError with a message for a place that cannot be mounted on and for numbers that are none.
    """
    target = values.get("target", "")
    if target == "/":
        raise ValueError("nothing can be mounted on /")
    match mount.kind:
        case "cache":
            return _cache(values, target, origin)
        case "tmpfs":
            return plan.MemoryMount(target=target, size=_size(values.get("size", "")))
        case "secret":
            return _secret(values, target)
        case "ssh":
            return plan.Agent(
                id=values.get("id", "default"), target=target or f"/run/buildkit/ssh_agent.{agents}",
                required=is_true(values.get("required", "false")), mode=_mode(values, 0o600), uid=_id(values, "uid"),
                gid=_id(values, "gid"),
            )  # fmt: skip
    readonly = is_true(values.get("readonly", "true"))
    return plan.BindMount(target=target, origin=origin, source=values.get("source", ""), readonly=readonly)


def _cache(values: Mapping[str, str], target: str, origin: Origin | None) -> plan.CacheDirectory:
    sharing = values.get("sharing", "shared")
    if sharing not in _SHARING:
        raise ValueError(f"sharing={sharing[:40]} is unknown; use {', '.join(_SHARING)}")
    return plan.CacheDirectory(
        id=values.get("id", target), target=target, readonly=is_true(values.get("readonly", "false")), sharing=sharing, origin=origin,
        source=values.get("source", ""), mode=_mode(values, 0o755), uid=_id(values, "uid"), gid=_id(values, "gid"),
    )  # fmt: skip


def _secret(values: Mapping[str, str], target: str) -> plan.Secret:
    id = values.get("id", "") or target.rpartition("/")[2]
    env = values.get("env", "")
    return plan.Secret(
        id=id, target=target or ("" if env else f"/run/secrets/{id}"), env=env, required=is_true(values.get("required", "false")),
        mode=_mode(values, 0o400), uid=_id(values, "uid"), gid=_id(values, "gid"),
    )  # fmt: skip


def _size(text: str) -> str:
    if text and not _SIZE.match(text):
        raise ValueError(f"size={text[:20]} is no size; such as size=64m")
    return text.lower().removesuffix("b")


def _mode(values: Mapping[str, str], default: int) -> int:
    return _number(values, "mode", 8, 0o10000) if "mode" in values else default


def _id(values: Mapping[str, str], key: str) -> int:
    return _number(values, key, 10, 2**32 - 1) if key in values else 0


def _number(values: Mapping[str, str], key: str, base: int, below: int) -> int:
    text = values[key].removeprefix("0o") if base == 8 else values[key]
    if text.isascii() and text.isdigit() and len(text) < 12:
        try:
            number = int(text, base)
        except ValueError:
            number = below
        if number < below:
            return number
    raise ValueError(f"{key}={text[:20]} is no {'octal mode' if base == 8 else 'id'}")

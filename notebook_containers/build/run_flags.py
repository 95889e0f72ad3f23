"""The flags of RUN: ``--mount``, ``--network``, ``--security``, ``--device`` (Dockerfile reference, "RUN").

Values are kept as written: their variables are known only while planning.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator

from notebook_containers.build import instructions as ins
from notebook_containers.build.parser import Flag, Node
from notebook_containers.errors import DockerfileError

KEYS = {
    "bind": frozenset({"target", "source", "from", "readonly"}),
    "cache": frozenset({"id", "target", "readonly", "sharing", "from", "source", "mode", "uid", "gid"}),
    "tmpfs": frozenset({"target", "size"}),
    "secret": frozenset({"id", "target", "env", "required", "mode", "uid", "gid"}),
    "ssh": frozenset({"id", "target", "required", "mode", "uid", "gid"}),
}
_SHORT = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}
_YES = {"": True, "true": True, "1": True, "false": False, "0": False}
_NETWORKS = ("default", "none", "host")


def read_flags(node: Node) -> tuple[tuple[ins.RunMount, ...], str]:
    """Return the mounts and the network (empty: the build's own) of a RUN; raises DockerfileError at the flag that is wrong."""
    mounts: list[ins.RunMount] = []
    network = ""
    for flag in node.flags:
        match flag.name:
            case "mount":
                mounts.append(_mount(node, flag))
            case "network":
                network = _network(node, flag)
            case "security":
                _security(node, flag)
            case "device":
                _device(node, flag)
            case _:
                raise _unknown(node, flag)
    return tuple(mounts), network


def _error(node: Node, flag: Flag, message: str, hint: str = "") -> DockerfileError:
    return node.error(message, offset=flag.offset, length=flag.length, hint=hint)


def _unknown(node: Node, flag: Flag) -> DockerfileError:
    known = ("mount", "network", "security", "device")
    near = difflib.get_close_matches(flag.name, known, n=1)
    hint = f"did you mean --{near[0]}?" if near else "its flags are " + " ".join(f"--{name}" for name in known)
    return _error(node, flag, f"RUN has no flag --{flag.name[:40]}", hint)


def _network(node: Node, flag: Flag) -> str:
    if flag.value not in _NETWORKS:
        raise _error(node, flag, f"--network={flag.value or ''} is unknown", "use " + ", ".join(_NETWORKS))
    return flag.value or ""


def _security(node: Node, flag: Flag) -> None:
    if flag.value == "insecure":
        raise _error(node, flag, "--security=insecure is refused: a build never runs without its isolation", "use 'nbc run --privileged'")
    if flag.value != "sandbox":
        raise _error(node, flag, f"--security={flag.value or ''} is unknown", "use sandbox, which is the default")


def _device(node: Node, flag: Flag) -> None:
    name, *words = (flag.value or "").split(",")
    if "required" in words or "required=true" in words:
        raise _error(
            node, flag, f"there is no device {name} for builds", "leave out 'required' to go on without it, or use 'nbc run --device'"
        )


def _mount(node: Node, flag: Flag) -> ins.RunMount:
    values = dict(_pairs(node, flag))
    kind = values.pop("type", "bind")
    if kind not in KEYS:
        near = difflib.get_close_matches(kind, list(KEYS), n=1)
        raise _error(node, flag, f"--mount has no type {kind[:40]!r}", f"did you mean {near[0]}?" if near else "use " + ", ".join(KEYS))
    if "readwrite" in values:
        values["readonly"] = "false" if _YES[values.pop("readwrite")] else "true"
    for key in values:
        if key not in KEYS[kind]:
            near = difflib.get_close_matches(key, sorted(KEYS[kind]), n=1)
            hint = f"did you mean {near[0]}?" if near else "it knows " + ", ".join(sorted(KEYS[kind]))
            raise _error(node, flag, f"a mount of type {kind} has no {key[:40]!r}", hint)
    _check(node, flag, kind, values)
    return ins.RunMount(kind=kind, values=values, flag=flag)


def _pairs(node: Node, flag: Flag) -> Iterator[tuple[str, str]]:
    text = _unquoted(flag.value or "")
    if not text:
        raise _error(node, flag, "--mount needs a value", "such as --mount=type=cache,target=/root/.cache")
    for word in next(csv.reader([text])):
        key, equals, value = word.strip().partition("=")
        name = _SHORT.get(key.lower(), key.lower())
        if name in ("readonly", "readwrite", "required"):
            if value.lower() not in _YES:
                raise _error(node, flag, f"{key}={value} is neither true nor false")
            value = value.lower()
        elif not equals or not value:
            raise _error(node, flag, f"{word.strip()!r} in --mount has no value", "write KEY=VALUE, with commas between")
        yield name, value


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _check(node: Node, flag: Flag, kind: str, values: dict[str, str]) -> None:
    if kind in ("bind", "cache", "tmpfs") and "target" not in values:
        raise _error(node, flag, f"a mount of type {kind} needs a target", f"--mount=type={kind},target=/path")
    if kind == "secret" and not {"id", "target"} & set(values):
        raise _error(node, flag, "a secret needs an id", "--mount=type=secret,id=NAME")
    sharing = values.get("sharing", "shared")
    if "$" not in sharing and sharing not in ("shared", "private", "locked"):
        raise _error(node, flag, f"sharing={sharing[:40]} is unknown", "use shared, private or locked")
    for key in ("uid", "gid"):
        if key in values and "$" not in values[key] and not _is_number(values[key], 10, 2**32 - 1):
            raise _error(node, flag, f"{key}={values[key][:20]} is no id")
    if "mode" in values and "$" not in values["mode"] and not _is_number(values["mode"].removeprefix("0o"), 8, 0o10000):
        raise _error(node, flag, f"mode={values['mode'][:20]} is no octal mode", "such as mode=0755")


def _is_number(text: str, base: int, below: int) -> bool:
    try:
        return text.isascii() and text.isalnum() and 0 <= int(text, base) < below
    except ValueError:
        return False


def is_true(text: str) -> bool:
    """Return the meaning of a checked ``readonly`` or ``required``."""
    return _YES[text]

"""Words about what is mounted into a container: ``-v``, ``--mount``, ``--tmpfs``, ``--volumes-from``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from notebook_containers.engine.quantities import parse_bytes
from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.documents import Document

if TYPE_CHECKING:
    from notebook_containers.engine.volume import Volume

Volumes: TypeAlias = "Mapping[str, object] | Mapping[Path, object] | Mapping[Volume, object] | Mapping[str | Path, object] | Sequence[str]"
"""What ``volumes=`` takes: sources mapped to ``{"bind": …, "mode": …}`` or to ``"/inside[:mode]"``, or texts of ``-v``."""
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}\Z")
PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_TMPFS = re.compile(r"(size|mode|uid|gid|nr_inodes|nr_blocks)=[0-9]+[kmgKMG%]?\Z", re.ASCII)
_TMPFS_WORDS = (
    "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "noatime", "relatime", "strictatime", "nodiratime", "diratime",
)  # fmt: skip
_HINT = "write type=bind,source=/host/path,target=/inside[,readonly]"
_KEYS = {
    "src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite", "u": "chown",
    "volume-subpath": "subpath", "image-subpath": "subpath",
}  # fmt: skip
_FLAGS = frozenset({"readonly", "readwrite", "chown", "volume-nocopy", "bind-nonrecursive", "bind-create-src"})
_SEVERAL = ("volume-label", "volume-opt")
_OF_KIND: Mapping[str, frozenset[str]] = {
    "bind": frozenset({"source", "chown", "bind-propagation", "bind-nonrecursive", "bind-recursive", "bind-create-src"}),
    "volume": frozenset({"source", "chown", "subpath", "volume-nocopy", "volume-driver", *_SEVERAL}),
    "tmpfs": frozenset({"tmpfs-size", "tmpfs-mode"}),
    "image": frozenset({"source", "subpath", "readwrite"}),
}
_RECURSION = {"enabled": "", "disabled": "disabled", "readonly": ""}
_COMMON = frozenset({"type", "target", "readonly", "consistency"})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class VolumeMount(Document):
    """One mount that was asked for: ``source`` is an absolute host path (bind), a volume name, empty (anonymous volume) or an image's name.

    ``must_exist`` refuses a host path that is not there (else it is made). ``recursion`` is empty (mounts below come along, and are
    read-only with it) or ``disabled`` (they stay away). ``subpath`` is a place in a volume or image. With ``own`` all files are given to
    the container's user first; with ``overlay`` what is written is seen by the container alone, and goes with it. ``labels`` and
    ``options`` are for a volume that is made.
    """

    kind: str
    source: str
    target: str
    read_only: bool = False
    must_exist: bool = False
    propagation: str = ""
    recursion: str = ""
    no_copy: bool = False
    subpath: str = ""
    own: bool = False
    overlay: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


def parse_volume(text: str, *, cwd: Path | None = None) -> VolumeMount:
    """Parse ``[source:]target[:options]`` as Docker's ``-v``; raises InvalidArgument for anything else."""
    parts = text.split(":")
    if len(parts) == 1:
        return _volume_mount("", parts[0], "", text, cwd)
    if len(parts) > 3 or not parts[0]:
        raise InvalidArgument(f"{text!r} is no volume", hint="write SOURCE:/path/inside[:ro]")
    return _volume_mount(parts[0], parts[1], parts[2] if len(parts) == 3 else "", text, cwd)


def _volume_mount(source: str, target: str, mode: str, text: str, cwd: Path | None, *, path: bool = False) -> VolumeMount:
    check_target(target, text)
    kind = "bind" if path or source.startswith(("/", ".", "~")) else "volume"
    if kind == "bind":
        source = str((cwd or Path.cwd()).joinpath(Path(source).expanduser()).resolve())
    elif source and not NAME.match(source):
        raise InvalidArgument(f"{source!r} is no volume name", hint="a host directory is written with a leading / or ./")
    mount = VolumeMount(kind=kind, source=source, target=target)
    words = [word for word in mode.split(",") if word]
    if {"ro", "rw"} <= set(words):
        raise InvalidArgument(f"{text!r} is both read-only and writable", hint="choose ro or rw")
    for word in words:
        mount = _with_mode(mount, word, text)
    return mount


def check_target(target: str, text: str) -> None:
    """Raise InvalidArgument unless ``target`` is an absolute path inside a container, below its root."""
    if not target.startswith("/") or "\0" in text or ".." in target.split("/"):
        raise InvalidArgument(
            f"{text!r} is no volume: {target!r} is not an absolute path inside the container", hint="write SOURCE:/path/inside[:ro]"
        )
    if not target.strip("/."):
        raise InvalidArgument(f"{text!r} is no volume: the root itself cannot be one", hint="choose a directory inside the container")


def _with_mode(mount: VolumeMount, word: str, text: str) -> VolumeMount:
    if word in ("ro", "rw"):
        return replace(mount, read_only=word == "ro")
    if word in ("z", "Z", "consistent", "cached", "delegated"):
        return mount  # labels of SELinux, which confines nothing here, and words for Docker on a Mac
    if word in PROPAGATION and mount.kind == "bind":
        return replace(mount, propagation=word)
    if word == "nocopy" and mount.kind == "volume":
        return replace(mount, no_copy=True)
    if word == "U":
        return replace(mount, own=True)
    if word == "O" and mount.kind == "bind":
        return replace(mount, overlay=True)
    raise InvalidArgument(
        f"volume option {word!r} in {text!r} is not supported",
        hint="use ro, rw, U, nocopy (volumes), O, rslave or rshared (host directories)",
    )


def volumes(given: Volumes | None) -> tuple[VolumeMount, ...]:
    """Return the mounts of docker-py's mapping (source to ``bind`` and ``mode``) or of ``-v`` texts.

    A source may be a :class:`~pathlib.Path`, which always means a directory of this machine, or a volume; what it is mapped to may be the
    place inside alone, as ``"/data"`` or ``"/data:ro"``.
    """
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        return tuple(parse_volume(str(entry)) for entry in given)
    return tuple(_mapped_volume(source, value) for source, value in given.items())


def _mapped_volume(given: object, value: object) -> VolumeMount:
    source, path = _source(given)
    if isinstance(value, (str, os.PathLike)):
        target, _, mode = os.fspath(value).partition(":")
    elif isinstance(value, Mapping) and isinstance(value.get("bind"), (str, os.PathLike)):
        target, mode = os.fspath(value["bind"]), str(value.get("mode") or "rw")
    else:
        hint = 'write {"/host/path": {"bind": "/inside", "mode": "ro"}} or {"/host/path": "/inside:ro"}'
        raise InvalidArgument(f"volume {source!r} has no 'bind'", hint=hint)
    return _volume_mount(source, target, mode, f"{source}:{target}", None, path=path)


def _source(given: object) -> tuple[str, bool]:
    """Return a mapping's key as text, and whether it is surely a path."""
    if isinstance(given, os.PathLike):
        return str(os.fspath(given)), True
    name = getattr(given, "name", given)  # a volume, of docker-py's shape or ours
    return str(name), False


def mounts(given: Sequence[str | Mapping[str, object]] | None) -> tuple[tuple[VolumeMount, ...], dict[str, str]]:
    """Return the mounts and, target to options, the tmpfs of ``--mount`` texts or of docker-py's ``Mount`` objects."""
    found, memory = [], {}
    for entry in given or ():
        text = entry if isinstance(entry, str) else _mount_text(entry)
        values = _fields(text)
        if values.get("type", "volume") == "tmpfs":
            target, options = _tmpfs(values, text)
            memory[target] = options
        else:
            found.append(_mount(values, text))
    return tuple(found), memory


def _fields(text: str) -> dict[str, str]:
    import csv

    values: dict[str, str] = {}
    for word in next(csv.reader([text]), []):
        key, equals, value = word.partition("=")
        key = _KEYS.get(key.strip().lower(), key.strip().lower())
        if not equals and key not in _FLAGS:
            raise InvalidArgument(f"--mount {text!r}: {word!r} has no value", hint=_HINT)
        if key in _SEVERAL:
            value = "\n".join([*filter(None, [values.get(key)]), value])
        elif key in values:
            raise InvalidArgument(f"--mount {text!r}: {key} is given twice")
        values[key] = value if equals else "true"
    kind = values.get("type", "volume")
    if kind not in _OF_KIND:
        raise Unsupported(f"--mount type={kind} is not supported", hint="use type=bind, volume, tmpfs or image")
    for key in values:
        if key not in _COMMON | _OF_KIND[kind]:
            raise InvalidArgument(f"--mount {text!r}: {key} does not go with type={kind}", hint=_HINT)
    return values


def _truth(values: Mapping[str, str], key: str, text: str) -> bool:
    word = values.get(key, "false").lower()
    if word not in ("true", "1", "false", "0"):
        raise InvalidArgument(f"--mount {text!r}: {key}={word} is neither true nor false")
    return word in ("true", "1")


def _target(values: Mapping[str, str], text: str) -> str:
    target = values.get("target", "")
    if not target:
        raise InvalidArgument(f"--mount {text!r} has no target", hint=_HINT)
    check_target(target, text)
    return target


def _mount(values: Mapping[str, str], text: str) -> VolumeMount:
    kind, source = values.get("type", "volume"), values.get("source", "")
    if kind == "bind" and not source.startswith("/"):
        raise InvalidArgument(f"--mount {text!r}: the source is not an absolute path of this machine", hint=_HINT)
    if kind == "volume" and source and not NAME.match(source):
        raise InvalidArgument(f"--mount {text!r}: {source!r} is no volume name", hint="a host directory needs type=bind")
    if kind == "image" and not source:
        raise InvalidArgument(f"--mount {text!r}: no image is named", hint="write type=image,source=IMAGE,target=/inside")
    if values.get("volume-driver", "local") != "local":
        raise Unsupported(f"--mount volume-driver={values['volume-driver']} is not supported", hint="volumes are local directories")
    return VolumeMount(
        kind=kind,
        source=str(Path(source).resolve()) if kind == "bind" else source,
        target=_target(values, text),
        read_only=_read_only(values, text),
        must_exist=kind == "bind" and not _truth(values, "bind-create-src", text),
        propagation=_propagation(values, text),
        recursion="disabled" if _truth(values, "bind-nonrecursive", text) else _recursion(values, text),
        no_copy=_truth(values, "volume-nocopy", text),
        subpath=_subpath(values.get("subpath", "").removeprefix("/" if kind == "image" else ""), text),
        own=_truth(values, "chown", text),
        labels=_pairs(values, "volume-label"),
        options=_pairs(values, "volume-opt"),
    )


def _read_only(values: Mapping[str, str], text: str) -> bool:
    """An image is read-only unless it is asked for otherwise."""
    if values.get("type") == "image" and "readonly" not in values:
        return not _truth(values, "readwrite", text)
    return _truth(values, "readonly", text)


def _pairs(values: Mapping[str, str], key: str) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in values.get(key, "").split("\n") if entry)}


def _propagation(values: Mapping[str, str], text: str) -> str:
    word = values.get("bind-propagation", "")
    if word and word not in PROPAGATION:
        raise InvalidArgument(f"--mount {text!r}: bind-propagation={word} is unknown", hint="use " + ", ".join(PROPAGATION))
    return word


def _recursion(values: Mapping[str, str], text: str) -> str:
    word = values.get("bind-recursive", "enabled")
    if word not in _RECURSION:
        raise InvalidArgument(f"--mount {text!r}: bind-recursive={word} is unknown", hint="use " + ", ".join(_RECURSION))
    return _RECURSION[word]


def _subpath(word: str, text: str) -> str:
    if word.startswith("/") or ".." in word.split("/") or "\0" in word:
        raise InvalidArgument(f"--mount {text!r}: the subpath {word} is no relative path inside", hint="write subpath=a/b, without ..")
    return "/".join(part for part in word.split("/") if part not in ("", "."))


def _tmpfs(values: Mapping[str, str], text: str) -> tuple[str, str]:
    words = ["ro"] if _truth(values, "readonly", text) else []
    if size := values.get("tmpfs-size"):
        words.append(f"size={parse_bytes(size, what='tmpfs-size')}")
    if mode := values.get("tmpfs-mode"):
        if not re.fullmatch(r"[0-7]{1,4}", mode, re.ASCII):
            raise InvalidArgument(f"--mount {text!r}: tmpfs-mode={mode} is no octal mode", hint="write tmpfs-mode=1777")
        words.append(f"mode={mode}")
    target = _target(values, text)
    tmpfs({target: ",".join(words)})
    return target, ",".join(words)


def _mount_text(entry: Mapping[str, object]) -> str:
    """Return docker-py's Mount object as the words of ``--mount``."""
    words = [f"type={entry.get('Type') or 'volume'}", f"target={entry.get('Target') or ''}"]
    if entry.get("Source"):
        words.append(f"source={entry['Source']}")
    if entry.get("ReadOnly"):
        words.append("readonly=true")
    words += [f"{name}={value}" for group, names in _OBJECT.items() for name, value in _members(entry, group, names)]
    return ",".join(f'"{word}"' if "," in word else word for word in words)


_READ_ONLY: Mapping[str, str] = {"ReadOnlyNonRecursive": "writable", "ReadOnlyForceRecursive": "readonly"}
_OBJECT: Mapping[str, Mapping[str, str]] = {
    "BindOptions": {
        "Propagation": "bind-propagation",
        "NonRecursive": "bind-nonrecursive",
        "CreateMountpoint": "bind-create-src",
        "ReadOnlyNonRecursive": "bind-recursive",
        "ReadOnlyForceRecursive": "bind-recursive",
    },
    "VolumeOptions": {"NoCopy": "volume-nocopy", "Subpath": "volume-subpath", "Labels": "volume-label", "DriverConfig": "volume-driver"},
    "ImageOptions": {"Subpath": "image-subpath"},
    "TmpfsOptions": {"SizeBytes": "tmpfs-size", "Mode": "tmpfs-mode"},
}


def _members(entry: Mapping[str, object], group: str, names: Mapping[str, str]) -> list[tuple[str, str]]:
    options = entry.get(group)
    if not isinstance(options, Mapping):
        return []
    found = []
    for member, word in names.items():
        value = options.get(member)
        if member == "Labels" and isinstance(value, Mapping):
            found += [(word, f"{key}={text}") for key, text in value.items()]
        elif member == "DriverConfig" and isinstance(value, Mapping):
            found += [(word, str(value["Name"]))] if value.get("Name") else []
            given = value.get("Options")
            found += [("volume-opt", f"{k}={v}") for k, v in given.items()] if isinstance(given, Mapping) else []
        elif member == "Mode" and isinstance(value, int):
            found.append((word, f"{value:o}"))
        elif member in _READ_ONLY and value:
            found.append((word, _READ_ONLY[member]))
        elif value not in (None, False, ""):
            found.append((word, "true" if value is True else str(value)))
    return found


def check_places(volumes: Sequence[VolumeMount], memory: Iterable[str]) -> None:
    """Raise InvalidArgument when two mounts are asked for at one place."""
    seen: set[str] = set()
    for target in (*(mount.target for mount in volumes), *memory):
        place = "/" + "/".join(part for part in target.split("/") if part not in ("", "."))
        if place in seen:
            raise InvalidArgument(f"two mounts are asked for at {place}", hint="choose another place for one of them")
        seen.add(place)


def tmpfs(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return where to mount empty directories in memory, with their mount options."""
    for target, text in (given or {}).items():
        if not target.startswith("/") or "\0" in target or ".." in target.split("/") or not target.strip("/."):
            raise InvalidArgument(f"tmpfs {target!r} is not an absolute path inside the container", hint="write /path[:size=64m]")
        for word in filter(None, (text or "").split(",")):
            if word not in _TMPFS_WORDS and not _TMPFS.match(word):
                raise InvalidArgument(f"tmpfs option {word!r} for {target} is not supported", hint="use size=64m, mode=1777, exec, ro")
    return {target: text or "" for target, text in (given or {}).items()}


def volumes_from(given: Sequence[str] | None) -> tuple[str, ...]:
    """Return ``NAME[:ro|rw]`` words of containers whose mounts are wanted."""
    for word in given or ():
        name, _, mode = str(word).partition(":")
        if not name or mode not in ("", "ro", "rw"):
            raise InvalidArgument(f"--volumes-from {word!r} is not understood", hint="write NAME or NAME:ro")
    return tuple(str(word) for word in given or ())

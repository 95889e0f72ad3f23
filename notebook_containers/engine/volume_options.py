"""The ``local`` driver's options (``type``, ``device``, ``o``): what a volume's files really lie on; pure.

Without options they lie in the volume's own directory. ``o=bind`` names a directory of this machine; ``type=tmpfs`` is memory; any other
type is a file system that is mounted (mount(8)'s words), for which root and the kernel's support are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from notebook_containers.engine import mount_words
from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.lean import dataclass

_KEYS = ("type", "device", "o")
_HINT = "write -o type=none -o o=bind -o device=/directory, or -o type=tmpfs -o device=tmpfs -o o=size=64m"
ANONYMOUS = "com.docker.volume.anonymous"
"""Docker's label of a volume that nobody gave a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """What a volume's files lie on: its own ``directory``, a ``bind`` of ``device``, or a file system ``mounted`` with ``words``."""

    kind: Literal["directory", "bind", "mounted"]
    type: str = ""
    device: str = ""
    words: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def in_memory(self) -> bool:
        """Whether the files are in memory and gone with a restart of the machine."""
        return self.type == "tmpfs"


def backing(options: Mapping[str, str]) -> Backing:
    """Return what the options mean; InvalidArgument for options that Docker's local driver does not have, or a part that is missing."""
    for key in options:
        if key == "size":
            raise Unsupported("the volume option size needs quotas of the file system", hint="a tmpfs has one: -o type=tmpfs -o o=size=64m")
        if key not in _KEYS:
            raise InvalidArgument(f"invalid volume option {key!r}", hint="the local driver has type, device and o")
    if not options:
        return Backing(kind="directory")
    words = tuple(word for word in options.get("o", "").split(",") if word)
    kind, device = options.get("type", ""), options.get("device", "")
    bound = bool({"bind", "rbind"} & set(words))
    for key in ("device", *(() if bound else ("type",))):
        if not options.get(key):
            raise InvalidArgument(f"missing volume option {key!r}", hint=_HINT)
    if bound:
        return _bind(kind, device, words)
    if kind == "tmpfs":
        mount_words.tmpfs({"/volume": ",".join(words)})
    return Backing(kind="mounted", type=kind, device=device, words=words, read_only="ro" in words)


def _bind(kind: str, device: str, words: tuple[str, ...]) -> Backing:
    if kind not in ("", "none", "bind"):
        raise InvalidArgument(f"volume type {kind!r} and o=bind do not go together", hint=_HINT)
    if not Path(device).is_absolute() or ".." in Path(device).parts:
        raise InvalidArgument(f"the volume's device {device!r} is no absolute path of this machine", hint=_HINT)
    if other := sorted(set(words) - {"bind", "rbind", "ro", "rw"}):
        raise InvalidArgument(f"volume option o={other[0]} does not go with bind", hint="use bind, rbind, ro, rw")
    return Backing(kind="bind", type="bind", device=device, words=words, read_only="ro" in words)

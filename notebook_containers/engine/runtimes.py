"""Which OCI runtime makes a container: our own, or another program that the caller names (``--runtime``)."""

from __future__ import annotations

import os

from notebook_containers.errors import InvalidArgument, Unsupported

OWN = ("", "nbc", "notebook-containers")


def find(word: str | None) -> str:
    """Return the path of another runtime, or an empty text for our own; InvalidArgument when there is no such program."""
    name = (word or "").strip()
    if name in OWN:
        return ""
    import shutil

    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]))
    if path is None:
        raise InvalidArgument(f"runtime {name!r} is not installed", hint="use the own one (leave out --runtime), or install runc or crun")
    return os.path.realpath(path)


def check(path: str, *, init: bool) -> None:
    """Unsupported for what only our own runtime does, or for who may not use another one."""
    if path and init:
        raise Unsupported("--init and --runtime do not go together: the small first process is our own runtime's")
    if path and os.geteuid() != 0:
        raise Unsupported("--runtime needs root", hint="leave it out: our own runtime runs as you")

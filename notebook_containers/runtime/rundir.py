"""The run directory's parts: private directories, made, judged and taken away."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from notebook_containers.errors import RuntimeFailure

_MAKING_S = 10.0
_GOING = "."


def make_private(path: Path) -> None:
    """Make ``path``, 0700; RuntimeFailure when it cannot be made, or somebody else could write there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as err:
        raise RuntimeFailure(f"cannot make {path}: {err.strerror}", hint="set NBC_RUN to a directory of your own") from err
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise RuntimeFailure(f"{path} must be a directory of your own that nobody else can write", hint="remove it, or set NBC_RUN")


def abandoned(directory: Path, after_s: float = _MAKING_S) -> bool:
    """Tell whether nobody can still be creating this container: it has no state, and creating takes milliseconds."""
    try:
        return time.time() - directory.stat().st_mtime > after_s
    except FileNotFoundError:
        return False


def containers(place: Path) -> list[Path]:
    """Return the containers' directories in ``place``, sorted, without those that are being taken away."""
    return sorted(place / name for name in os.listdir(place) if not name.startswith(_GOING))


def remove(directory: Path) -> None:
    """Take a container's directory away; nothing happens when there is none.

    It loses its name first: whoever is killed or interrupted on the way leaves no half of it, but what :func:`sweep` takes away.
    """
    going = directory.with_name(f"{_GOING}{directory.name}-{os.urandom(4).hex()}")
    try:
        os.rename(directory, going)
    except FileNotFoundError:
        return
    _empty(going)


def sweep(place: Path) -> None:
    """Take away what :func:`remove` could not finish."""
    for name in os.listdir(place):
        if name.startswith(_GOING):
            _empty(place / name)


def _empty(directory: Path) -> None:
    try:
        for name in os.listdir(directory):
            os.unlink(directory / name)
        os.rmdir(directory)
    except OSError:  # somebody put a directory into it, or is removing it too
        import shutil

        shutil.rmtree(directory, ignore_errors=True)

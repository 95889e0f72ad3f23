"""What is kept of a container that a foreign caller made by ``nbc runtime create``: one directory per id under ``--root``.

There is no monitor: the caller (conmon, a containerd shim) is the parent of the container's first process and reads its exit status
itself. So the state is worked out each time from the process, its start time, the socket on which it waits for the start, and the freezer.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

from notebook_containers.errors import Conflict, ContainerNotFound, InvalidArgument, RuntimeFailure
from notebook_containers.linux import process as processes
from notebook_containers.runtime import document, limits
from notebook_containers.runtime.document import PlainBundle, Table

_ID = re.compile(r"[A-Za-z0-9_+.-]+\Z")
START = "start"
_MOMENT_S = 10.0


def check_id(identity: str) -> None:
    """InvalidArgument for an id that is none: letters, digits and ``_ + . -`` only (runc's rule)."""
    if not _ID.match(identity) or identity in (".", ".."):
        raise InvalidArgument(f"invalid container id {identity!r}", hint="use letters, digits and the characters _ + . -")


class Record:
    """The directory of one container."""

    def __init__(self, root: str, identity: str) -> None:
        check_id(identity)
        self.root, self.id = root, identity
        self.path = os.path.join(root, identity)

    @classmethod
    def claim(cls, root: str, identity: str) -> Record:
        """Make the directory; Conflict when the id is taken."""
        record = cls(root, identity)
        try:
            os.makedirs(root, mode=0o700, exist_ok=True)
            _check_root(root)
            if _abandoned(record.path):
                record.remove()
            os.mkdir(record.path, 0o700)
        except FileExistsError:
            raise Conflict(f"container with given ID already exists: {identity}") from None
        except OSError as err:
            raise RuntimeFailure(f"cannot make {record.path}: {err.strerror}", hint="choose another directory with --root") from err
        return record

    @contextmanager
    def locked(self) -> Iterator[Table]:
        """Hold the container against other commands and yield its state.json; ContainerNotFound when it does not exist."""
        try:
            fd = os.open(os.path.join(self.path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            raise ContainerNotFound(f"container does not exist: {self.id}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield self.read()
        finally:
            os.close(fd)

    def read(self) -> Table:
        """Return state.json; ContainerNotFound when there is none."""
        try:
            return document.read(os.path.join(self.path, "state.json"))
        except FileNotFoundError:
            raise ContainerNotFound(f"container does not exist: {self.id}") from None

    def write(self, kept: Table) -> None:
        """Replace state.json."""
        document.write(os.path.join(self.path, "state.json"), kept)

    def bundle(self, kept: Table) -> PlainBundle:
        """Return the bundle as it was when the container was made."""
        return PlainBundle.kept(document.text(kept, "bundle"), self.path)

    def config(self) -> Table:
        """Return the Spec as it was when the container was made."""
        return document.read(os.path.join(self.path, "config.json"))

    def socket(self) -> str:
        """Return the path of the socket on which the first process waits."""
        return os.path.join(self.path, START)

    def remove(self) -> None:
        """Forget it."""
        for name in (START, "seccomp.bpf", "config.json", "lock", "state.json"):
            try:
                os.unlink(os.path.join(self.path, name))
            except FileNotFoundError:
                continue
        os.rmdir(self.path)


def _abandoned(path: str) -> bool:
    """Tell whether whoever made this directory was killed before it wrote a state: that takes a moment only."""
    try:
        return time.time() - os.stat(path).st_mtime > _MOMENT_S and not os.path.exists(os.path.join(path, "state.json"))
    except FileNotFoundError:
        return False


def _check_root(root: str) -> None:
    found = os.stat(root)
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RuntimeFailure(f"{root} must be a directory of your own that nobody else can write", hint="choose another one with --root")


def ids(root: str) -> list[str]:
    """Return the ids of all containers under ``root``, sorted."""
    try:
        return sorted(name for name in os.listdir(root) if os.path.exists(os.path.join(root, name, "state.json")))
    except FileNotFoundError:
        return []


def limits_of(kept: Table) -> limits.Limits:
    """Return the container's cgroup."""
    return limits.restore(kept)


def status(record: Record, kept: Table) -> str:
    """Return creating, created, running, paused or stopped."""
    if not document.number(kept, "pid"):
        return "creating" if processes.alive(document.number(kept, "creator"), document.number(kept, "creatorStarted")) else "stopped"
    if not processes.alive(document.number(kept, "pid"), document.number(kept, "pidStarted")):
        return "stopped"
    if document.text(kept, "status") == "creating":
        return "creating"
    if os.path.exists(record.socket()):
        return "created"
    return "paused" if limits_of(kept).frozen() else "running"


def state(record: Record, kept: Table, status_word: str = "") -> Table:
    """Return the specification's State of a container (runtime.md, "State")."""
    word = status_word or status(record, kept)
    found: Table = {
        "ociVersion": document.text(kept, "ociVersion"),
        "id": record.id,
        "status": word,
        "pid": 0 if word == "stopped" else document.number(kept, "pid"),
        "bundle": document.text(kept, "bundle"),
    }
    if annotations := document.table(kept, "annotations"):
        found["annotations"] = annotations
    return found

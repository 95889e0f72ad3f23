"""What the builder is handed: somebody who runs a command in a snapshot, and somebody who finds base images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from notebook_containers.lean import dataclass, field
from notebook_containers.oci.runtime import Mount
from notebook_containers.store.images import ImageRecord

Output = Callable[[str, bytes], None]

MOUNT_POINTS = (
    *("/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab"),
    *("/.dockerenv", "/run/.containerenv", "/dev/console", "/dev/shm", "/dev/pts", "/dev/mqueue", "/dev/pipes", "/sys/fs/cgroup"),
    "/etc/apt/apt.conf.d/zz-notebook-containers",
)
"""Where a runtime mounts things: a commit leaves them out when they were not there before and are empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """A file that exists in memory only, while a RUN runs, read-only at ``path``."""

    path: str
    data: bytes = field(repr=False)
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One RUN: ``mounts`` make the snapshot's root filesystem on an empty directory, ``binds`` and ``secrets`` are put inside afterwards.

    ``env`` are ``NAME=value`` texts and complete but for HOME and ``secret_env``, which is never written to a
    disk; ``user`` is as USER wrote it (empty: root), resolved in the root filesystem;
    ``cwd`` is absolute and exists.
    """

    snapshot: str
    mounts: tuple[Mount, ...]
    binds: tuple[Mount, ...] = ()
    secrets: tuple[SecretFile, ...] = ()
    args: tuple[str, ...]
    env: tuple[str, ...]
    secret_env: tuple[str, ...] = field(default=(), repr=False)
    cwd: str
    user: str = ""
    network: str = "default"
    hostname: str = "buildkitsandbox"


class Executor(Protocol):
    """Runs commands of RUN instructions."""

    def run(self, request: RunRequest, output: Output) -> int:
        """Run to the end and return the exit status; every process of it is gone and every mount undone when this returns or raises.

        Several threads may run at once. ``output`` gets ``("stdout"|"stderr", bytes)`` as they come. A command that cannot be started
        raises StartFailed.
        """

    def cancel(self) -> None:
        """Kill everything that runs now, from another thread; those runs then return."""


class Bases(Protocol):
    """Finds the images that FROM and COPY --from name."""

    def image(self, reference: str, *, pull: bool, platform: str = "") -> ImageRecord:
        """Return the image, for a platform if one is given, made or pulled when needed; raises ImageNotFound with a hint."""

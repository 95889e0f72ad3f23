"""What the engine's collections share: the store, the runtime, the places on disk and the facts of this machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from notebook_containers.engine.host import Host
from notebook_containers.engine.limit_words import highest_ulimits
from notebook_containers.errors import ContainerNotFound, StoreError, Unsupported
from notebook_containers.lean import dataclass
from notebook_containers.linux import capabilities
from notebook_containers.linux.idmaps import IdMaps
from notebook_containers.runtime.exhausted import limit_named
from notebook_containers.runtime.journal import Journal
from notebook_containers.runtime.lifecycle import Runtime
from notebook_containers.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The pillars, opened, and where they keep things."""

    store: Store
    runtime: Runtime
    root: Path
    run: Path
    host: Host

    def bundle_path(self, container_id: str) -> Path:
        """Return the directory of one container."""
        return self.root / "containers" / container_id

    def emit(self, kind: str, action: str, identity: str, attributes: Mapping[str, object]) -> None:
        """Write one event for whoever listens, in whatever process; ``kind`` is container, image, network or volume."""
        Journal(os.fspath(self.run)).append(kind, action, identity, attributes)

    def emit_image(self, action: str, identity: str, name: str) -> None:
        """Write one event of an image."""
        self.emit("image", action, identity, {"name": name})

    @contextmanager
    def container_lock(self, container_id: str) -> Iterator[None]:
        """Hold one container's life-cycle lock (start, stop, rm), across processes; the kernel releases it when the holder dies.

        The lock lies in the container's directory, which ``rm`` moves away while holding it: whoever waited then finds no container.
        One whose directory is lost can be locked all the same while there is its record, so that it can be removed.
        """
        path = self.bundle_path(container_id) / "lock"
        with self._lock_file(path, container_id) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not path.exists():
                raise ContainerNotFound(f"no such container: {container_id[:12]}", hint="it was removed a moment ago")
            yield

    @limit_named()
    def _lock_file(self, path: Path, container_id: str) -> BinaryIO:
        try:
            return open(path, "ab")
        except FileNotFoundError:
            self.store.records.container(container_id)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            return open(path, "ab")


def default_root() -> Path:
    """Return where images and containers are kept: ``NBC_ROOT``, else the system's or the user's data directory."""
    if given := os.environ.get("NBC_ROOT"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/notebook-containers")
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "notebook-containers"


def default_run() -> Path:
    """Return where volatile state is kept: ``NBC_RUN``, else the system's or the user's runtime directory."""
    if given := os.environ.get("NBC_RUN"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/run/notebook-containers")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "notebook-containers"
    import tempfile

    return Path(tempfile.gettempdir()) / f"notebook-containers-{os.geteuid()}"


def private_directory(path: Path) -> Path:
    """Make (or accept) a directory that is ours and closed to others; raises StoreError naming it otherwise."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.lstat()
    except OSError as err:
        raise StoreError(f"cannot make {path}: {err.strerror}", hint="set NBC_ROOT and NBC_RUN to directories you can write") from err
    if not path.is_dir() or path.is_symlink() or info.st_uid != os.geteuid():
        raise StoreError(f"{path} is not a directory of user {os.geteuid()}", hint="set NBC_RUN to a directory of your own")
    if info.st_mode & 0o077:
        path.chmod(0o700)
    return path


def read_host(ids: IdMaps | None = None) -> Host:
    """Return the facts of this machine and of the caller, whose containers have the ids ``ids`` (its store's)."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    rootless = os.geteuid() != 0
    names = capabilities.NAMES if rootless else _own_capabilities()
    return Host(
        euid=os.geteuid(),
        egid=os.getegid(),
        memory_bytes=pages * size,
        capabilities=tuple(names),
        ids=ids,
        hostname=os.uname().nodename or "localhost",
        oom_score_adj=int(Path("/proc/self/oom_score_adj").read_text()),
        cgroup_v1=any(line.split(":")[1] for line in Path("/proc/self/cgroup").read_text().splitlines()),
        ulimits=highest_ulimits(may_raise=not rootless and "CAP_SYS_RESOURCE" in names),
    )


def _own_capabilities() -> tuple[str, ...]:
    mask = next(int(line.split()[1], 16) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return tuple(name for number, name in enumerate(capabilities.NAMES) if mask >> number & 1)


def check_machine() -> None:
    """Raise Unsupported when this machine cannot run containers at all, naming what is missing and what to do."""
    import sys

    if sys.platform != "linux":
        raise Unsupported(
            f"containers need a Linux kernel, this is {sys.platform}",
            hint="run the notebook in a Linux machine, WSL 2 or a virtual machine",
        )
    if os.geteuid() != 0:
        _check_user_namespaces()


def _check_user_namespaces() -> None:
    for path, bad in (("/proc/sys/user/max_user_namespaces", "0"), ("/proc/sys/kernel/unprivileged_userns_clone", "0")):
        try:
            value = Path(path).read_text().strip()
        except OSError:
            continue
        if value == bad:
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            raise Unsupported(
                f"user namespaces are switched off ({name}={value})",
                hint=f"ask an administrator for: sysctl -w {name}={'1' if 'clone' in name else '15000'}",
            )

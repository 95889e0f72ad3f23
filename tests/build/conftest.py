"""A real store, a small base image made of this machine's files, and an executor that really runs: own mounts and pids, chroot."""

from __future__ import annotations

import io
import os
import re
import select
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from notebook_containers.build.build import BuildResult, build
from notebook_containers.build.execution import Output, RunRequest
from notebook_containers.build.lent import Lent
from notebook_containers.build.progress import Event
from notebook_containers.errors import ImageNotFound, StartFailed
from notebook_containers.linux import syscalls
from notebook_containers.oci.image import ContainerConfig, History, ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.oci.runtime import Mount
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.store import Store

_PROGRAMS = (
    "sh",
    "cat",
    "mkdir",
    "rm",
    "chmod",
    "chown",
    "ls",
    "id",
    "stat",
    "env",
    "sleep",
    "ln",
    "touch",
    "readlink",
    "sort",
    "mv",
    "cp",
)
_FLAGS = {"ro": syscalls.MS_RDONLY, "bind": syscalls.MS_BIND, "rbind": syscalls.MS_BIND | syscalls.MS_REC, "rw": 0}


class ChrootExecutor:
    """Runs in a child with own mount and pid namespaces; the child is the only one that sees the mounts, so they end with it."""

    def __init__(self) -> None:
        self.requests: list[RunRequest] = []

    def cancel(self) -> None:
        """Nothing here runs beside another."""

    def run(self, request: RunRequest, output: Output) -> int:
        self.requests.append(request)
        pipes = {"stdout": os.pipe(), "stderr": os.pipe()}
        pid = os.fork()
        if pid == 0:
            _child(request, pipes["stdout"][1], pipes["stderr"][1])
        for _, write in pipes.values():
            os.close(write)
        _pump({read: name for name, (read, _) in pipes.items()}, output)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 254:
            raise StartFailed(f"no such command {request.args[0]}", exit_status=127)
        return status if status >= 0 else 128 - status


def _pump(open_: dict[int, str], output: Output) -> None:
    try:
        while open_:
            for fd in select.select(list(open_), [], [])[0]:
                data = os.read(fd, 65536)
                if data:
                    output(open_[fd], data)
                else:
                    del open_[fd]
                    os.close(fd)
    finally:
        for fd in open_:
            os.close(fd)


def _child(request: RunRequest, stdout: int, stderr: int) -> None:
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
        pid = os.fork()
        if pid:
            os._exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0))
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        _enter(request)
        os.execvpe(request.args[0], list(request.args), dict(e.partition("=")[::2] for e in request.env))
    except OSError as err:
        os.write(2, f"{err}\n".encode())
    finally:
        os._exit(254)


def _enter(request: RunRequest) -> None:
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    root = "/mnt"
    for mount in request.mounts:
        _mount(mount, root)
    dev = f"{root}/dev"
    if request.binds:
        os.makedirs(dev, exist_ok=True)
        syscalls.mount("tmpfs", dev, "tmpfs", 0)
    for mount in request.binds:
        target = root + mount.destination
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
        _mount(mount, target)
    os.chroot(root)
    os.chdir(request.cwd)
    if request.user:
        uid = int(request.user.partition(":")[0])
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)


def _mount(mount: Mount, target: str) -> None:
    flags = 0
    options = []
    for option in mount.options:
        if option in _FLAGS:
            flags |= _FLAGS[option]
        else:
            options.append(option)
    syscalls.mount(mount.source or "none", target, "" if flags & syscalls.MS_BIND else mount.type, flags, ",".join(options))


class LocalBases:
    """Images of the store only."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def image(self, reference: str, *, pull: bool, platform: str = "") -> ImageRecord:
        return self._store.images.resolve(reference)


@pytest.fixture(scope="session")
def base_tar() -> bytes:
    """The tar of a small root filesystem: a shell, a few programs and their libraries, passwd and group."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for directory in ("etc", "tmp", "usr", "usr/bin"):
            _directory(tar, directory)
        _link(tar, "bin", "usr/bin")
        for path in sorted(_needed()):
            tar.add(os.path.realpath(path), arcname=path.lstrip("/"))
        _file(tar, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:www:/:/bin/sh\n")
        _file(tar, "etc/group", "root:x:0:\nwww:x:34:\nstaff:x:50:\n")
    return raw.getvalue()


def _needed() -> set[str]:
    paths: set[str] = set()
    for name in _PROGRAMS:
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found
        listed = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
        paths |= {f"/usr/bin/{name}", *re.findall(r"(/\S+) \(0x", listed)}
    return paths


def _directory(tar: tarfile.TarFile, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
    tar.addfile(info)


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    tar.addfile(info)


def _file(tar: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(text)
    tar.addfile(info, io.BytesIO(text.encode()))


@pytest.fixture
def store(tmp_path: Path, base_tar: bytes) -> Iterator[Store]:
    """A store with the image ``base``."""
    with Store.open(tmp_path / "store") as opened:
        layer = opened.layers.apply(io.BytesIO(base_tar))
        config = ImageConfig(
            created="2026-01-01T00:00:00Z", architecture="amd64", os="linux",
            config=ContainerConfig(env=("PATH=/usr/bin:/bin", "LANG=C"), cmd=("/bin/sh",)),
            history=(History(created="2026-01-01T00:00:00Z", created_by="base"),),
        )  # fmt: skip
        opened.images.put(config, [layer], tags=[Reference.parse("base")])
        yield opened


class Builder:
    """Builds with the fixtures' store, context and executor; keeps the events of the last build."""

    def __init__(self, store: Store, context: Path) -> None:
        self.store, self.context = store, context
        self.executor = ChrootExecutor()
        self.lent = Lent()
        self.events: list[Event] = []

    def __call__(
        self, text: str, *, tag: str = "out", target: str = "", build_args: Mapping[str, str] | None = None, no_cache: bool = False
    ) -> BuildResult:
        return self.run(text, [], tag=tag, target=target, build_args=build_args, no_cache=no_cache)

    def run(
        self, text: str, events: list[Event], *, tag: str = "out", target: str = "", build_args: Mapping[str, str] | None = None,
        no_cache: bool = False,
    ) -> BuildResult:  # fmt: skip
        """Build and keep the events in the given list."""
        self.events = events
        return build(
            self.store, text, context=self.context, executor=self.executor, bases=LocalBases(self.store),
            tags=[Reference.parse(tag)] if tag else [], target=target, build_args=build_args, no_cache=no_cache,
            progress=events.append, lent=self.lent,
        )  # fmt: skip

    def tag_exists(self, name: str) -> bool:
        try:
            self.store.images.resolve(name)
        except ImageNotFound:
            return False
        return True

    def read(self, result: BuildResult, path: str) -> str | None:
        """Return a file of the built image."""
        data = self.store.snapshots.read_file(result.image.config.rootfs.diff_ids, path)
        return None if data is None else data.decode()

    def tree(self, result: BuildResult) -> dict[str, tarfile.TarInfo]:
        """Return the entries of the image's last layer by name."""
        with self.store.layers.open_tar(result.image.config.rootfs.diff_ids[-1]) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            return {m.name.rstrip("/"): m for m in tar.getmembers()}


@pytest.fixture
def builder(store: Store, tmp_path: Path) -> Builder:
    """A builder with an empty context directory."""
    context = tmp_path / "context"
    context.mkdir()
    return Builder(store, context)


@pytest.fixture
def make_builder(store: Store) -> Callable[[Path], Builder]:
    """Make builders with other contexts on the same store."""
    return lambda context: Builder(store, context)

"""A container's files as archives: what ``get_archive``, ``put_archive``, ``cp`` and ``export`` are made of.

The work is done by a process of its own (:mod:`.archiver`); here it is told which view of the container to take, and fed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import notebook_containers
from notebook_containers import errors
from notebook_containers.engine import launch
from notebook_containers.engine.archiver import Table, Talk, table, text, texts
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.places import Place, Source
from notebook_containers.errors import Conflict, NotFound, RuntimeFailure
from notebook_containers.lean import dataclass, field
from notebook_containers.linux import exhausted, namespaces, process as processes
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.runtime import IDMapping, Spec
from notebook_containers.runtime.bundle import Bundle
from notebook_containers.runtime.exhausted import limit_named
from notebook_containers.runtime.state import ContainerState

_CODE = "import sys; sys.path.insert(0, {directory!r}); from notebook_containers.engine.archiver import main; main({fd})"
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_KERNEL = ("proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue")
_CHUNK = 1 << 18
_MOST_LEVELS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStat:
    """What ``docker cp`` and docker-py are told of a path: ``mode`` has the type's bits as stat(2), ``link`` where a link leads."""

    name: str
    size: int
    mode: int
    mtime: float
    link: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the archiver sees a container: the request's part, descriptors it needs, and the id maps it must be given."""

    request: Mapping[str, JSON]
    fds: tuple[int, ...] = ()
    uids: tuple[IDMapping, ...] = ()
    gids: tuple[IDMapping, ...] = ()
    single_id: bool = False
    highest: int | None = None
    skip: tuple[str, ...] = field(default=())


class Archiver:
    """One archiver process with one request; use it in ``with``: at the end it is gone, whatever happened."""

    def __init__(self, view: View, request: Mapping[str, JSON], *, reads: bool) -> None:
        with limit_named():
            ours, theirs = socket.socketpair()
            self._talk, self._socket = Talk(ours), ours
            self._messages = tempfile.TemporaryFile()
        code = _CODE.format(directory=str(Path(notebook_containers.__file__).parents[1]), fd=theirs.fileno())
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-E", "-c", code],
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                pass_fds=(theirs.fileno(), *view.fds),
                stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
                stderr=self._messages,
            )
        except OSError as err:
            ours.close()
            self._messages.close()
            with limit_named():
                if exhausted.words(err):
                    raise
            raise RuntimeFailure(f"cannot start {sys.executable}: {err.strerror}") from err
        finally:
            theirs.close()
        self._view = view
        self.send({**request, "view": dict(view.request), "skip": list(view.skip), "single_id": view.single_id, "highest": view.highest})

    def send(self, value: Mapping[str, JSON]) -> None:
        """Send one line; an archiver that is gone says why when it is asked."""
        with suppress(BrokenPipeError):
            self._talk.send(value)

    def answer(self) -> Table:
        """Return the next answer; raises the error it carries, RuntimeFailure when the process died."""
        try:
            value = self._talk.receive()
        except (OSError, ValueError):
            value = {}
        if value.get("unshared"):
            self._map_ids()
            return self.answer()
        if failure := table(value, "error"):
            raise _error(text(failure, "class"), text(failure, "message"), text(failure, "hint"))
        if not value:
            raise RuntimeFailure(f"the process that reads the container's files died: {self._last_words()}")
        return value

    def _map_ids(self) -> None:
        uids, gids = ([(m.container_id, m.host_id, m.size) for m in maps] for maps in (self._view.uids, self._view.gids))
        try:
            namespaces.write_id_maps(self.process.pid, uids, gids)
        except OSError:
            self.send({})
        else:
            self.send({"mapped": True})

    def _last_words(self) -> str:
        self.process.wait()
        self._messages.seek(0)
        return self._messages.read()[-2000:].decode("utf-8", "replace").strip().rpartition("\n")[2][:300]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        self.process.wait()
        self._talk.close()
        self._socket.close()
        self._messages.close()

    def __enter__(self) -> Archiver:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()


def _error(name: str, message: str, hint: str) -> errors.Error:
    kind = getattr(errors, name, RuntimeFailure)
    return kind(message, hint=hint) if isinstance(kind, type) and issubclass(kind, errors.Error) else RuntimeFailure(message, hint=hint)


# -- reading -------------------------------------------------------------------------------------------------------------------------------


def stat(parts: Parts, container_id: str, path: str) -> PathStat:
    """Return what a path in the container is; its last component is not followed. NotFound when there is nothing."""
    with view_of(parts, container_id) as view, Archiver(view, {"op": "get", "path": path}, reads=False) as archiver:
        found = _stat(archiver.answer())
        archiver.send({"name": ""})
        return found


@contextmanager
def reading(parts: Parts, container_id: str, path: str, *, follow: bool = False) -> Iterator[Reading]:
    """Open an archive of a path for reading; nothing is sent before :meth:`Reading.stream` says under which name."""
    with view_of(parts, container_id) as view, Archiver(view, {"op": "get", "path": path, "follow": follow}, reads=False) as archiver:
        yield Reading(archiver, _stat(archiver.answer()))


class Reading:
    """An archive that waits to be read; ``warnings`` are there after its end."""

    def __init__(self, archiver: Archiver, found: PathStat) -> None:
        self._archiver, self.stat = archiver, found
        self.warnings: list[str] = []

    def stream(self, name: str) -> Iterator[bytes]:
        """Yield the archive, its top entry called ``name``; raises what went wrong at its end."""
        self._archiver.send({"name": name})
        pipe = self._archiver.process.stdout
        if pipe is None:
            return
        while data := os.read(pipe.fileno(), _CHUNK):
            yield data
        self.warnings += texts(self._archiver.answer(), "warnings")


def export(parts: Parts, container_id: str) -> Iterator[bytes]:
    """Yield an archive of the container's whole file system, without volumes and the kernel's file systems, as ``docker export``."""
    with Archiver(_snapshot_view(parts, container_id, binds=False), {"op": "get", "path": "/"}, reads=False) as archiver:
        archiver.answer()
        yield from Reading(archiver, PathStat(name="/", size=0, mode=0, mtime=0, link="", kind="d")).stream(".")


def export_directory(parts: Parts, directory: Path, what: str) -> Iterator[bytes]:
    """Yield an archive of all below a directory that containers write to, owners as they are inside; ``what`` names it in errors."""
    with _directory_view(parts, directory) as view, Archiver(view, {"op": "get", "path": "/", "what": what}, reads=False) as archiver:
        archiver.answer()
        yield from Reading(archiver, PathStat(name="/", size=0, mode=0, mtime=0, link="", kind="d")).stream(".")


def write_directory(parts: Parts, directory: Path, what: str, feed: Callable[[Place, Callable[[bytes], object]], object]) -> list[str]:
    """Unpack an archive in such a directory, and nowhere else; return warnings."""
    with _directory_view(parts, directory) as view:
        return _write(view, {"op": "put", "path": "/", "what": what, "keep_kinds": True, "whole": True}, feed)


def _stat(answer: Table) -> PathStat:
    found = table(answer, "stat")
    return PathStat(
        name=text(found, "name"),
        size=int(str(found["size"])),
        mode=int(str(found["mode"])),
        mtime=float(str(found["mtime"])),
        link=text(found, "link"),
        kind=text(found, "kind"),
    )


# -- writing -------------------------------------------------------------------------------------------------------------------------------


def write(
    parts: Parts,
    container_id: str,
    path: str,
    feed: Callable[[Place, Callable[[bytes], object]], object],
    *,
    source: Source | None = None,
    as_root: bool = False,
    keep_kinds: bool = False,
) -> list[str]:
    """Unpack an archive in the container's directory ``path``, or with ``source`` where a copy to ``path`` goes; return warnings.

    ``feed(place, write)`` is called once and writes the uncompressed archive. A container that does not run cannot start meanwhile.
    """
    request: dict[str, JSON] = {"op": "put", "path": path, "as_root": as_root, "keep_kinds": keep_kinds}
    if source is not None:
        request["source"] = source.to_json()
    with view_of(parts, container_id, writable=True) as view:
        return _write(view, request, feed)


def _write(view: View, request: Mapping[str, JSON], feed: Callable[[Place, Callable[[bytes], object]], object]) -> list[str]:
    with Archiver(view, request, reads=True) as archiver:
        place = Place.from_json(table(archiver.answer(), "place"))
        archiver.send({"go": True})
        pipe = archiver.process.stdin
        with suppress(BrokenPipeError):  # it refused the archive: its answer says why
            if pipe is not None:
                feed(place, pipe.write)
                pipe.close()
        return texts(archiver.answer(), "warnings")


# -- which view ----------------------------------------------------------------------------------------------------------------------------


@contextmanager
def view_of(parts: Parts, container_id: str, *, writable: bool = False) -> Iterator[View]:
    """Yield how to see the container: as it sees itself while it runs, else its snapshot with its volumes.

    While an unstarted or ended container is written to, its life-cycle lock is held, so that its file system is never mounted twice.
    """
    state = launch.state(parts, container_id)
    if state.status in ("running", "paused"):
        with _live_view(parts, state) as view:
            yield view
    elif not writable:
        yield _snapshot_view(parts, container_id, binds=True)
    else:
        with parts.container_lock(container_id):
            state = launch.state(parts, container_id)
            if state.status in ("running", "paused"):
                with _live_view(parts, state) as view:
                    yield view
            elif state.status == "restarting":
                raise Conflict(f"container {container_id[:12]} is restarting", hint="stop it first, or try again")
            else:
                yield _snapshot_view(parts, container_id, binds=True, writable=True)


@contextmanager
def _directory_view(parts: Parts, directory: Path) -> Iterator[View]:
    """Yield how to see a directory of this machine, with the ids that an ordinary user's containers have."""
    maps = parts.host.maps
    pairs = (maps.uids, maps.gids) if maps is not None else ((), ())
    uids, gids = (tuple(IDMapping(container_id=inside, host_id=first, size=count) for inside, first, count in lines) for lines in pairs)
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as err:
        raise NotFound(f"there is no directory {directory}", hint="was it removed?") from err
    try:
        request: dict[str, JSON] = {"root": fd, "mapped": maps is not None}
        highest = maps.highest if maps else None
        yield View(request=request, fds=(fd,), uids=uids, gids=gids, single_id=highest == 0, highest=highest)
    finally:
        os.close(fd)


@contextmanager
def _live_view(parts: Parts, state: ContainerState) -> Iterator[View]:
    spec = Bundle(path=parts.bundle_path(state.id)).spec()
    with ExitStack() as opened:
        with limit_named():
            fds = _pinned(state, opened)
        request: dict[str, JSON] = {"root": fds[0], **({"user": fds[1]} if len(fds) > 1 else {})}
        hidden = tuple(m.destination for m in spec.mounts if m.type in _KERNEL or m.destination == "/dev")
        yield View(request=request, fds=fds, single_id=_highest(spec) == 0, highest=_highest(spec), skip=hidden)


def _pinned(state: ContainerState, opened: ExitStack) -> tuple[int, ...]:
    """Open the root of exactly this container (and its user namespace, when it has its own), and keep its mounts while ``opened`` is."""
    try:
        pidfd = processes.open_pidfd(state.pid, state.pid_started)
        opened.callback(os.close, pidfd)
        opened.callback(os.close, namespaces.open_namespace(state.pid, "mount"))  # else its mounts go with its last process
        root = os.open(f"/proc/{state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(lambda: os.close(found[0]))
        found = [root]
        found[0] = _top(root)
        fds = [found[0]]
        if not namespaces.same_namespace(state.pid, "user"):
            fds.append(namespaces.open_namespace(state.pid, "user"))
            opened.callback(os.close, fds[1])
        if not processes.alive(state.pid, state.pid_started):  # the paths above named it all the time
            raise ProcessLookupError
    except (FileNotFoundError, ProcessLookupError, PermissionError) as err:
        raise Conflict(f"the files of container {state.id[:12]} cannot be reached: it has just ended", hint="try again") from err
    return tuple(fds)


def _top(root: int) -> int:
    """Go up from a process's root (it may have called chroot) to the root of its mount namespace; closes ``root``."""
    for _ in range(_MOST_LEVELS):
        above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
        try:
            same = _identity(above) == _identity(root)
        except BaseException:
            os.close(above)
            raise
        os.close(root)
        root = above
        if same:
            break
    return root


def _identity(fd: int) -> tuple[int, int, str]:
    status = os.fstat(fd)
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return status.st_dev, status.st_ino, next(line for line in lines if line.startswith("mnt_id:"))


def _snapshot_view(parts: Parts, container_id: str, *, binds: bool, writable: bool = False) -> View:
    bundle = parts.bundle_path(container_id)
    spec = Bundle(path=bundle).spec()
    stack = parts.store.snapshots.stack(container_id, writable=writable)
    linux = spec.linux
    # root's own layers keep the images' owners on the disk, whatever ids the container has
    mapped = parts.host.rootless and linux is not None and any(namespace.type == "user" for namespace in linux.namespaces)
    request: dict[str, JSON] = {
        "mapped": mapped,
        "place": str(bundle / (spec.root.path if spec.root else "rootfs")),
        "lowers": [str(path) for path in stack.lowers],
        "upper": str(stack.upper or ""),
        "work": str(stack.work or ""),
        "userxattr": parts.store.snapshots.rootless,
        "readonly": writable and spec.root is not None and spec.root.readonly,
        "binds": _binds(spec) if binds else [],
    }
    uids, gids = (linux.uid_mappings, linux.gid_mappings) if linux is not None and mapped else ((), ())
    return View(request=request, uids=uids, gids=gids, single_id=_highest(spec) == 0, highest=_highest(spec))


def _binds(spec: Spec) -> list[JSON]:
    wanted = [m for m in spec.mounts if m.type == "bind" and m.destination != "/sys" and not m.destination.startswith("/sys/")]
    # an image's files, or what was written over a directory
    wanted += [m for m in spec.mounts if m.type == "overlay" and not any(word.startswith("subpath=") for word in m.options)]
    wanted.sort(key=lambda m: m.destination.count("/"))
    return [{"type": m.type, "source": m.source, "target": m.destination, "options": list(m.options)} for m in wanted]


def _highest(spec: Spec) -> int | None:
    """Return the last user id that exists in the container, None when all do; 0 means that other owners cannot be kept."""
    maps: Sequence[IDMapping] = spec.linux.uid_mappings if spec.linux else ()
    return max((m.container_id + m.size - 1 for m in maps), default=None)

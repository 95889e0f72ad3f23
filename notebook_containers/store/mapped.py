"""File work in a user name space: the engine's end of the worker (:mod:`.worker`), started on first use and kept warm.

The worker forks for each request, so requests of several threads run beside each other. It ends with the store, or with this process.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from notebook_containers import errors
from notebook_containers.linux import namespaces, process as processes
from notebook_containers.linux.idmaps import IdMaps
from notebook_containers.oci.documents import JSON
from notebook_containers.store.changes import Change
from notebook_containers.store.edit import ViewOf
from notebook_containers.store.operations import CopyTree, LayersView, Operation, to_json
from notebook_containers.store.overlay import Stack
from notebook_containers.store.tar_reader import Readable
from notebook_containers.store.trees import Attributes, LocalTrees, Packed, PackRequest
from notebook_containers.store.unpack import Unpacked

_PROGRAM = "import sys; sys.path[:0] = {paths!r}; from notebook_containers.store.worker import main; main({fd}, {highest})"
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
_PIECE = 1 << 20
_START_S = 30.0

Feed: TypeAlias = Callable[[int], object]


class MappedTrees:
    """Trees whose files belong to the ids of ``maps``; thread-safe. Raises Unsupported when the kernel or newuidmap refuses the map."""

    def __init__(self, maps: IdMaps) -> None:
        self._maps = maps
        self._here = LocalTrees(None, userxattr=True)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    # the store's work

    def unpack(self, stream: Readable, directory: Path) -> Unpacked:
        """Unpack a layer's archive."""
        answer = _table(self._ask({"op": "unpack", "directory": str(directory)}, feed=lambda fd: _pour(stream, fd)))
        while stream.read(_PIECE):
            pass
        root = answer["root"]
        return Unpacked(
            entries=_number(answer["entries"]),
            file_bytes=_number(answer["file_bytes"]),
            root=_attributes(root) if root else None,
            warnings=_texts(answer["warnings"]),
        )

    def compare(self, stream: Readable, directory: Path, *, lenient: bool) -> list[str]:
        """Hold a tree against its archive."""
        order: dict[str, JSON] = {"op": "compare", "directory": str(directory), "lenient": lenient}
        answer = self._ask(order, feed=lambda fd: _pour(stream, fd))
        while stream.read(_PIECE):
            pass
        return list(_texts(answer))

    def give(self, path: Path, attributes: Attributes) -> None:
        """Set a directory's mode and owner; what is and stays the caller's own needs no worker."""
        status = os.stat(path)
        if attributes[1:] == (0, 0) and (status.st_uid, status.st_gid) == (self._maps.uids[0][1], self._maps.gids[0][1]):
            os.chmod(path, attributes[0])
            return
        self._ask({"op": "give", "path": str(path), "attributes": list(attributes)})

    def changes(self, upper: Path, below: Sequence[Path], ignore: Collection[str]) -> list[Change]:
        """Compare an upper directory with what is below."""
        answer = self._ask({"op": "changes", "upper": str(upper), "below": _paths(below), "ignore": [*sorted(ignore)]})
        pairs = answer if isinstance(answer, list) else []
        return [Change(path=os.fsdecode(base64.b64decode(path)), kind=kind) for path, kind in (_texts(pair) for pair in pairs)]

    def usage(self, upper: Path) -> int:
        """Return the bytes that an upper directory's files take; in this process where no directory is closed to it."""
        with suppress(PermissionError):
            return self._here.usage(upper)
        return _number(self._ask({"op": "usage", "upper": str(upper)}))

    def pack(self, request: PackRequest, write: Callable[[bytes], object]) -> Packed | None:
        """Pack an upper directory."""
        order: dict[str, JSON] = {
            "op": "pack",
            "upper": str(request.upper),
            "below": _paths(request.below),
            "root": list(request.root),
            "ignore": [*sorted(request.ignore)],
            "epoch": request.epoch,
            "take": str(request.take) if request.take else None,
        }
        answer = self._ask(order, drain=write)
        if answer is None:
            return None
        root = _table(answer)["root"]
        return Packed(root=_attributes(root) if root else None, warnings=_texts(_table(answer)["warnings"]))

    def read_file(self, trees: Sequence[Path], path: str, max_bytes: int) -> bytes | None:
        """Return a regular file of merged trees; in this process where nothing on the way is closed to it."""
        with suppress(PermissionError):
            return self._here.read_file(trees, path, max_bytes)
        answer = self._ask({"op": "read_file", "trees": _paths(trees), "path": path, "max_bytes": max_bytes})
        return None if answer is None else base64.b64decode(str(answer))

    def read_live(self, directory: Path, path: str, max_bytes: int) -> bytes:
        """Return a regular file of a directory that others may be changing; in this process where nothing is closed to it."""
        with suppress(PermissionError):
            return self._here.read_live(directory, path, max_bytes)
        answer = self._ask({"op": "read_live", "directory": str(directory), "path": path, "max_bytes": max_bytes})
        return base64.b64decode(str(answer))

    def names_live(self, directory: Path, path: str) -> list[str]:
        """List a directory of a tree that others may be changing."""
        with suppress(PermissionError):
            return self._here.names_live(directory, path)
        return list(_texts(self._ask({"op": "names_live", "directory": str(directory), "path": path})))

    def own(self, directory: Path, uid: int, gid: int) -> None:
        """Give a directory with all below to an owner."""
        self._ask({"op": "own", "directory": str(directory), "owner": [uid, gid]})

    def find(self, trees: Sequence[Path], directory: str, name: str) -> tuple[int, int, int, str] | None:
        """Return mode, uid, gid and link text of a name in merged trees."""
        answer = self._ask({"op": "find", "trees": _paths(trees), "directory": directory, "name": name})
        if not isinstance(answer, list):
            return None
        mode, uid, gid, link = answer
        return _number(mode), _number(uid), _number(gid), str(link)

    def names(self, trees: Sequence[Path], directory: str) -> list[str]:
        """List a directory of merged trees."""
        return list(_texts(self._ask({"op": "names", "trees": _paths(trees), "directory": directory})))

    def edit(self, target: Stack, operations: Sequence[Operation], view: ViewOf) -> None:
        """Carry out file operations."""
        views = {o.source.layers for o in operations if hasattr(o, "source") and isinstance(o.source, LayersView)}
        request = {
            "op": "edit",
            "target": _stack(target),
            "views": [[list(layers), _stack(view(layers))] for layers in views],
            "operations": [to_json(operation) for operation in operations],
        }
        contents = [piece.content for o in operations if isinstance(o, CopyTree) for piece in o.ready.values()]
        self._ask(request, feed=(lambda fd: _fill(contents, fd)) if contents else None)

    def remove(self, path: Path) -> None:
        """Delete a tree."""
        self._ask({"op": "remove", "path": str(path)})

    def start(self) -> None:
        """Start the worker now: the proof that the kernel and newuidmap give this map. Raises Unsupported."""
        with self._lock:
            self._running()

    def close(self) -> None:
        """End the worker; idempotent."""
        with self._lock:
            self._stop()

    # one request

    def _ask(self, request: Mapping[str, object], *, feed: Feed | None = None, drain: Callable[[bytes], object] | None = None) -> JSON:
        """Send a request and return its answer; meanwhile ``feed`` fills a pipe that the worker reads, or ``drain`` gets what it writes."""
        ours, theirs = socket.socketpair()
        pipe = os.pipe2(os.O_CLOEXEC) if feed or drain else None
        handed = [] if pipe is None else [pipe[0] if feed else pipe[1]]
        kept = -1 if pipe is None else pipe[1] if feed else pipe[0]
        moved = False
        with ours:
            try:
                with theirs:
                    self._send([theirs.fileno(), *handed])
                for fd in handed:
                    os.close(fd)
                handed = []
                ours.sendall(json.dumps(request).encode())
                ours.shutdown(socket.SHUT_WR)
                if pipe is not None:
                    with suppress(OSError):
                        fcntl.fcntl(kept, fcntl.F_SETPIPE_SZ, _PIECE)
                _move_bytes(kept, feed, drain)
                moved = True
            finally:
                for fd in (*handed, *((kept,) if kept >= 0 else ())):
                    os.close(fd)
                if not moved:  # the worker is at it until it misses the rest: who tidies up comes after it
                    with suppress(errors.StoreError, OSError):
                        _receive(ours)
            return _answer(_receive(ours))

    def _send(self, fds: list[int]) -> None:
        with self._lock:
            for attempt in (0, 1):
                try:
                    processes.send_fds(self._running(), b"r", fds)
                except OSError as err:
                    self._stop()
                    if attempt:
                        raise errors.StoreError(f"cannot reach the worker for file operations: {err.strerror}") from err
                else:
                    return

    # its life

    def _running(self) -> socket.socket:
        if self._socket is None or self._process is None or self._process.poll() is not None:
            self._stop()
            self._start()
        assert self._socket is not None
        return self._socket

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_START_S)
        paths = [str(Path(errors.__file__).parents[1]), *[path for path in sys.path if path]]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-E", "-c", _PROGRAM.format(paths=paths, fd=theirs.fileno(), highest=self._maps.highest)],
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        self._socket = ours
        try:
            self._map(ours, self._process.pid)
        except BaseException:
            self._close_stderr()
            self._stop()
            raise
        self._close_stderr()
        ours.settimeout(None)

    def _map(self, control: socket.socket, pid: int) -> None:
        said = control.recv(4096).decode("utf-8", "replace")
        if not said:
            raise errors.StoreError(f"the worker for file operations died: {self._last_words()}")
        if said != "u":
            raise errors.Unsupported(
                f"this user cannot make user name spaces: {said}",
                hint="ask the administrator to allow them (user.max_user_namespaces, AppArmor), or run as root; see 'nbc doctor'",
            )
        try:
            namespaces.write_id_maps(pid, [*self._maps.uids], [*self._maps.gids])
        except OSError as err:
            raise errors.Unsupported(
                f"the ids of this store cannot be had ({self._maps.describe()}): {err.strerror}", hint="'nbc doctor' tells what is missing"
            ) from err
        control.send(b"g")
        if (said := control.recv(4096).decode("utf-8", "replace")) != "r":
            raise errors.Unsupported(f"the worker for file operations cannot start: {said or 'it died'}", hint="see 'nbc doctor'")

    def _last_words(self) -> str:
        stderr = self._process.stderr if self._process is not None else None
        said = stderr.read() if stderr is not None else b""
        return said.decode(errors="replace").strip().rpartition("\n")[2][:300] or "without a word"

    def _close_stderr(self) -> None:
        if self._process is not None and self._process.stderr is not None:
            self._process.stderr.close()

    def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket = self._process = None


def _move_bytes(fd: int, feed: Feed | None, drain: Callable[[bytes], object] | None) -> None:
    if feed is not None:
        with suppress(BrokenPipeError):  # the worker has given up: its answer says why
            feed(fd)
    elif drain is not None:
        while piece := os.read(fd, _PIECE):
            drain(piece)


def _pour(stream: Readable, fd: int) -> None:
    _fill(iter(lambda: stream.read(_PIECE), b""), fd)


def _fill(pieces: Iterable[bytes], fd: int) -> None:
    for piece in pieces:
        view = memoryview(piece)
        while view:
            view = view[os.write(fd, view) :]


def _receive(conn: socket.socket) -> bytes:
    parts = []
    while part := conn.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def _answer(data: bytes) -> JSON:
    if not data:
        raise errors.StoreError("the worker for file operations died", hint="it may have been killed for its memory")
    answer = json.loads(data)
    if "value" in answer:
        value: JSON = answer["value"]
        return value
    if "errno" in answer:
        raise OSError(answer["errno"], answer["strerror"], answer["filename"])
    cls = getattr(errors, answer["class"], errors.StoreError)
    error = cls(answer["message"], hint=answer["hint"])
    raise error if isinstance(error, errors.Error) else errors.StoreError(answer["message"])


def _stack(stack: Stack) -> dict[str, JSON]:
    return {
        "lowers": _paths(stack.lowers),
        "upper": str(stack.upper) if stack.upper else None,
        "work": str(stack.work) if stack.work else None,
    }


def _paths(paths: Sequence[Path]) -> list[JSON]:
    return [str(path) for path in paths]


def _table(value: JSON) -> Mapping[str, JSON]:
    assert isinstance(value, Mapping)
    return value


def _number(value: JSON) -> int:
    assert isinstance(value, int)
    return value


def _texts(value: JSON) -> tuple[str, ...]:
    assert isinstance(value, Sequence)
    return tuple(str(item) for item in value)


def _attributes(value: JSON) -> Attributes:
    assert isinstance(value, list)
    mode, uid, gid = (_number(item) for item in value)
    return mode, uid, gid

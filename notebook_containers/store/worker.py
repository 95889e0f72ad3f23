"""The worker: root in a user name space of the caller's, where it mounts overlays and works on files of every mapped owner.

One process per store, single-threaded: each request comes as a connection (and a pipe for bytes), and is served by a fork of it.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from notebook_containers import errors
from notebook_containers.linux import process as processes, syscalls
from notebook_containers.oci.image import Digest
from notebook_containers.store.operations import from_json
from notebook_containers.store.overlay import Stack
from notebook_containers.store.trees import LocalTrees, PackRequest

_MOST_FDS = 2
Table: TypeAlias = Mapping[str, object]


def main(fd: int, highest: int) -> None:
    """Enter the name space, have it mapped by whoever holds the other end of ``fd``, and serve until that is closed.

    ``highest`` is the last id that exists inside.
    """
    control = socket.socket(fileno=fd)
    processes.keep_only([fd])
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    except OSError as err:
        control.send(os.strerror(err.errno or 0).lower().encode())
        return
    control.send(b"u")
    if control.recv(1) != b"g":
        return
    try:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    except OSError as err:
        control.send(f"it cannot become root in its name space: {err.strerror}".encode())
        return
    control.send(b"r")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    gc.collect()
    gc.freeze()
    trees = LocalTrees(None, userxattr=True, highest=highest)
    while True:
        word, fds = processes.recv_fds(control, 16, _MOST_FDS)
        if not word:
            return
        if os.fork() == 0:
            control.close()
            try:
                _serve(_Desk(trees, fds[1:], single_id=highest == 0), socket.socket(fileno=fds[0]))
            finally:
                os._exit(0)
        for received in fds:
            os.close(received)


def _serve(desk: _Desk, conn: socket.socket) -> None:
    os.umask(0o022)
    parts = []
    while part := conn.recv(1 << 16):
        parts.append(part)
    try:
        request: Table = json.loads(b"".join(parts))
        answer: dict[str, object] = {"value": desk.answer(request)}
    except errors.Error as err:
        answer = {"class": type(err).__name__, "message": err.message, "hint": err.hint}
    except OSError as err:
        name = err.filename if isinstance(err.filename, str) else None
        answer = {"errno": err.errno or 0, "strerror": err.strerror or str(err), "filename": name}
    except Exception as err:
        answer = {"class": "StoreError", "message": f"the worker for file operations failed: {type(err).__name__}: {err}", "hint": ""}
    desk.close()
    conn.sendall(json.dumps(answer).encode())


class _Desk:
    """Serves one request; ``fds`` is the pipe that came with it, if any."""

    def __init__(self, trees: LocalTrees, fds: list[int], *, single_id: bool) -> None:
        self._trees, self._fds, self._single_id = trees, fds, single_id
        self._operations: Mapping[str, Callable[[Table], object]] = {
            "unpack": self._unpack,
            "compare": lambda r: self._trees.compare(_Pipe(self._fds[0]), _path(r["directory"]), lenient=bool(r["lenient"])),
            "give": self._give,
            "changes": self._changes,
            "usage": lambda r: self._trees.usage(_path(r["upper"])),
            "pack": self._pack,
            "read_file": self._read_file,
            "read_live": self._read_live,
            "names_live": lambda r: self._trees.names_live(_path(r["directory"]), str(r["path"])),
            "own": lambda r: self._trees.own(_path(r["directory"]), *_numbers(r["owner"])),
            "find": lambda r: self._trees.find(_paths(r["trees"]), str(r["directory"]), str(r["name"])),
            "names": lambda r: self._trees.names(_paths(r["trees"]), str(r["directory"])),
            "edit": self._edit,
            "remove": lambda r: self._trees.remove(_path(r["path"])),
        }

    def answer(self, request: Table) -> object:
        """Do what the request asks for and return the answer's value."""
        return self._operations[str(request["op"])](request)

    def close(self) -> None:
        """Close the pipe, so that its other end sees the end."""
        while self._fds:
            os.close(self._fds.pop())

    def _unpack(self, request: Table) -> object:
        done = self._trees.unpack(_Pipe(self._fds[0]), _path(request["directory"]))
        return {"entries": done.entries, "file_bytes": done.file_bytes, "root": done.root, "warnings": done.warnings}

    def _give(self, request: Table) -> None:
        mode, uid, gid = _numbers(request["attributes"])
        self._trees.give(_path(request["path"]), (mode, uid, gid))

    def _changes(self, request: Table) -> object:
        found = self._trees.changes(_path(request["upper"]), _paths(request["below"]), _texts(request["ignore"]))
        return [(base64.b64encode(os.fsencode(change.path)).decode(), change.kind) for change in found]

    def _pack(self, request: Table) -> object:
        mode, uid, gid = _numbers(request["root"])
        epoch, take = request["epoch"], request["take"]
        order = PackRequest(
            upper=_path(request["upper"]),
            below=_paths(request["below"]),
            root=(mode, uid, gid),
            ignore=frozenset(_texts(request["ignore"])),
            epoch=epoch if isinstance(epoch, int) else None,
            take=_path(take) if take else None,
        )
        done = self._trees.pack(order, self._write)
        return None if done is None else {"root": done.root, "warnings": done.warnings}

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fds[0], view) :]

    def _read_file(self, request: Table) -> object:
        most = request["max_bytes"]
        data = self._trees.read_file(_paths(request["trees"]), str(request["path"]), most if isinstance(most, int) else 0)
        return None if data is None else base64.b64encode(data).decode()

    def _read_live(self, request: Table) -> object:
        most = request["max_bytes"]
        data = self._trees.read_live(_path(request["directory"]), str(request["path"]), most if isinstance(most, int) else 0)
        return base64.b64encode(data).decode()

    def _edit(self, request: Table) -> None:
        from notebook_containers.store.edit import perform

        raw, orders = request["views"], request["operations"]
        assert isinstance(raw, list)
        assert isinstance(orders, list)
        views = {tuple(layers): _stack(stack) for layers, stack in raw}

        def view(layers: tuple[Digest, ...]) -> Stack:
            return views[tuple(layers)]

        target = request["target"]
        assert isinstance(target, dict)
        contents = self._fds[0] if self._fds else -1
        perform(_stack(target), [from_json(order, contents) for order in orders], view, single_id=self._single_id, userxattr=True)


class _Pipe:
    """A descriptor read as a stream; a pipe gives what it has, up to the asked-for size."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, size: int, /) -> bytes:
        return os.read(self._fd, size)


def _stack(data: Mapping[str, object]) -> Stack:
    upper, work = data["upper"], data["work"]
    return Stack(lowers=_paths(data["lowers"]), upper=_path(upper) if upper else None, work=_path(work) if work else None)


def _path(value: object) -> Path:
    return Path(str(value))


def _paths(value: object) -> tuple[Path, ...]:
    return tuple(Path(text) for text in _texts(value))


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _numbers(value: object) -> list[int]:
    return [int(item) for item in value] if isinstance(value, list) else []

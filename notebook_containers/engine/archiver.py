"""The process that reads and writes a container's files: started for one archive, gone with it.

It never has the container's file system as its own: it reaches it by one descriptor, so nothing of the container is ever loaded or
executed (CVE-2019-14271). A running container is seen as it sees itself, volumes and tmpfs included; one that does not run is mounted
in a private mount namespace, which dies with this process. Where ids are mapped it is root in the container's user namespace.

Requests and answers are JSON lines on a socket; archives go through standard input and output.
"""

from __future__ import annotations

import errno
import json
import os
import posixpath
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress

from notebook_containers import errors
from notebook_containers.engine import places
from notebook_containers.linux import mounts, syscalls
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.documents import JSON
from notebook_containers.store.overlay import FIXED_OPTIONS
from notebook_containers.store.tar_reader import TarReader
from notebook_containers.store.tree_tar import kind_of, send_tree
from notebook_containers.store.unpack import Rules, unpack

Table = dict[str, JSON]


class Talk:
    """JSON lines over a socket, both ways."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rwb")

    def send(self, value: Mapping[str, JSON]) -> None:
        """Send one line."""
        self._file.write(json.dumps(value).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close this end."""
        with suppress(OSError):
            self._file.close()

    def receive(self) -> Table:
        """Return the next line; an empty object at the end."""
        line = self._file.readline()
        value: JSON = json.loads(line) if line else {}
        return value if isinstance(value, dict) else {}


def main(control: int) -> None:
    """Serve one request on the socket ``control``; ends the process with status 0 when it was answered."""
    talk = Talk(socket.socket(fileno=control))
    try:
        talk.send({"done": True, "warnings": list(_serve(talk, talk.receive()))})
    except errors.Error as err:
        talk.send({"error": {"class": type(err).__name__, "message": err.message, "hint": err.hint}})
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more
    os._exit(0)


def _serve(talk: Talk, request: Table) -> list[str]:
    path = text(request, "path")
    try:
        with SafeRoot(_view(talk, table(request, "view")), follow=True) as root:
            if request["op"] == "put":
                return _put(talk, request, root, path)
            return _get(talk, request, root, path)
    except OSError as err:
        raise explain(err, path, text(request, "what") or "the container") from err


def _get(talk: Talk, request: Table, root: SafeRoot, path: str) -> list[str]:
    """Send what is at ``path``: first its status, then, under the name that is answered, the archive."""
    real = places.through_links(root, path) if request.get("follow") else path
    talk.send({"stat": _status(root, path, real)})
    name = text(talk.receive(), "name")
    if not name:  # the status was all that was asked for
        return []
    skip = [status.st_dev for hidden in texts(request, "skip") if (status := places.status_of(root, hidden)) is not None]
    with os.fdopen(1, "wb") as output:
        return send_tree(root, real, output.write, name=name, skip=skip)


def _put(talk: Talk, request: Table, root: SafeRoot, path: str) -> list[str]:
    """Unpack standard input: in the directory ``path``, or where a copy to ``path`` goes."""
    if copied := table(request, "source"):
        place = places.choose(root, path, places.Source.from_json(copied))
    else:
        status = places.status_of(root, path)
        if status is None:
            raise errors.NotFound(f"there is no {path} in the container")
        if not stat.S_ISDIR(status.st_mode):
            raise errors.InvalidArgument(f"{path} in the container is not a directory")
        place = places.Place(below=path, name="")
    talk.send({"place": place.to_json()})
    if not talk.receive():
        return []
    owner = (0, 0) if request.get("as_root") else None
    highest = int(str(request["highest"])) if request.get("highest") else None
    rules = Rules(
        layer=False,
        single_id=bool(request.get("single_id")),
        owner=owner,
        keep_kinds=bool(request.get("keep_kinds")),
        highest=highest,
        whole=bool(request.get("whole")),
    )
    with os.fdopen(0, "rb", 1 << 16) as archive:
        return list(unpack(TarReader(archive), root, rules, below=_plain(place.below)).warnings)


def _plain(path: str) -> str:
    """Return a path without dots: those above the root stay at it, as in a container."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _status(root: SafeRoot, path: str, real: str) -> Table:
    status = root.lstat(real)
    kind = kind_of(status)
    link = posixpath.normpath(posixpath.join("/", posixpath.dirname(real), root.readlink(real))) if kind == "l" else ""
    name = places.base_name(path)
    return {
        "name": "/" if name == "." else name,
        "size": status.st_size,
        "mode": status.st_mode,
        "mtime": status.st_mtime,
        "link": link,
        "kind": kind,
    }


# -- seeing the container ------------------------------------------------------------------------------------------------------------------


def _view(talk: Talk, view: Table) -> int:
    """Return a descriptor of the container's root, or of a directory with the container's ids."""
    if (live := view.get("root")) is not None:
        if view.get("mapped"):
            _enter_ids(talk, syscalls.CLONE_NEWUSER)
        elif (user := view.get("user")) is not None:
            syscalls.setns(int(str(user)), syscalls.CLONE_NEWUSER)
            _be_root()
        return int(str(live))
    if view.get("mapped"):
        _enter_ids(talk, syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUSER)
    else:
        syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    root = _mount(view)
    for bind in tables(view, "binds"):
        _bind(root, bind)
    if view.get("readonly"):
        mounts.change(root, mounts.Options(["ro"]))
    return root


def _enter_ids(talk: Talk, flags: int) -> None:
    syscalls.unshare(flags)
    talk.send({"unshared": True})
    if not talk.receive():
        raise errors.Unsupported("the ids of a user namespace cannot be mapped here", hint="see 'nbc doctor'")
    _be_root()


def _be_root() -> None:
    if os.geteuid() != 0 or os.getegid() != 0:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def _mount(view: Table) -> int:
    """Mount the snapshot on the container's (empty) directory for its root: to write, or to read with a place for mount points above it."""
    place = text(view, "place")
    lowers, upper = texts(view, "lowers"), text(view, "upper")
    if not upper:
        scratch = mounts.create("tmpfs", "tmpfs", ["mode=700", "nosuid", "nodev", "noexec"])
        _attach(scratch, place)
        for name in ("upper", "work", "root"):
            os.mkdir(name, 0o755, dir_fd=scratch)
        os.close(scratch)
        tree = _overlay(lowers, f"{place}/upper", f"{place}/work", userxattr=bool(view.get("userxattr")))
        _attach(tree, f"{place}/root")
        return tree
    if lowers:
        tree = _overlay(lowers, upper, text(view, "work"), userxattr=bool(view.get("userxattr")))
    else:
        tree = mounts.create("bind", upper, ["bind", "nosuid", "nodev", "noexec"])
    _attach(tree, place)
    return tree


def _overlay(lowers: list[str], upper: str, work: str, *, userxattr: bool) -> int:
    words = [*(f"lowerdir+={path}" for path in reversed(lowers)), f"upperdir={upper}", f"workdir={work}", *FIXED_OPTIONS]
    return mounts.create("overlay", "overlay", [*words, *(["userxattr"] if userxattr else []), "nosuid", "nodev", "noexec"])


def _attach(tree: int, place: str) -> None:
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.attach(tree, target)
    os.close(target)


def _bind(root: int, bind: Table) -> None:
    """Mount one bind in the view; one that has no source or no place any more is left out: the container could not start with it either."""
    try:
        tree = mounts.create(text(bind, "type"), text(bind, "source"), texts(bind, "options"))
    except FileNotFoundError:
        return
    try:
        target = mounts.open_target(root, text(bind, "target"), directory=mounts.is_directory(tree))
        try:
            mounts.attach(tree, target)
        finally:
            os.close(target)
    except OSError as err:
        if err.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.EISDIR):
            raise
    finally:
        os.close(tree)


# -- requests ------------------------------------------------------------------------------------------------------------------------------


def text(data: Mapping[str, JSON], key: str) -> str:
    """Return the text at ``key``, empty when absent."""
    value = data.get(key)
    return value if isinstance(value, str) else ""


def texts(data: Mapping[str, JSON], key: str) -> list[str]:
    """Return the list of texts at ``key``, empty when absent."""
    value = data.get(key)
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


def table(data: Mapping[str, JSON], key: str) -> Table:
    """Return the object at ``key``, empty when absent."""
    value = data.get(key)
    return dict(value) if isinstance(value, dict) else {}


def tables(data: Mapping[str, JSON], key: str) -> list[Table]:
    """Return the list of objects at ``key``, empty when absent."""
    value = data.get(key)
    return [dict(item) for item in value if isinstance(item, dict)] if isinstance(value, (list, tuple)) else []


def explain(err: OSError, path: str, inside: str = "the container") -> errors.Error:
    """Return the error of ours that says what went wrong with a path in the container, or in what else it is ``inside``."""
    reason = (os.strerror(err.errno) if err.errno else str(err)).lower()
    named = err.filename if isinstance(err.filename, str) and not err.filename.startswith("/proc/self/") else ""
    where = f"/{named.lstrip('/')}" if named.count("/") or not named or named == path.strip("/") else posixpath.join(path, named)
    where = path if where == "/" else where
    if err.errno in (errno.ENOENT, errno.ENOTDIR):
        return errors.NotFound(f"there is no {where} in {inside}")
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return errors.DiskFull(f"no space left for {where} in {inside}", hint="free space with 'nbc system prune'")
    if err.errno == errno.EROFS:
        return errors.Conflict(f"{where} cannot be changed: it is mounted read-only in {inside}")
    if err.errno == errno.EBUSY:
        return errors.Conflict(f"{where} cannot be replaced: something is mounted there")
    if err.errno in (errno.ELOOP, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL):
        return errors.InvalidArgument(f"{where} in {inside} cannot be used: {reason}")
    if err.errno in (errno.EPERM, errno.EACCES):
        return errors.Unsupported(f"{where} in {inside} cannot be used: {reason}", hint="see 'nbc doctor'")
    return errors.RuntimeFailure(f"{where} in {inside} cannot be used: {reason}")

"""Binds of a foreign bundle that show other owners: ``mounts[].uidMappings`` and ``gidMappings``, words ``idmap`` and ``ridmap``.

(config.md, "Mounts"; mount_setattr(2).) They are made by who makes the container, as init may have no rights over the file system, and
handed to it as descriptors. Each mapping becomes a user namespace of its own, which lives as long as its mounts.
"""

from __future__ import annotations

import errno
import os
import signal

from notebook_containers.errors import InvalidArgument, RuntimeFailure, Unsupported
from notebook_containers.linux import mounts, namespaces, process as processes, syscalls
from notebook_containers.runtime import document
from notebook_containers.runtime.document import PlainBundle, Table

WORDS = ("idmap", "ridmap")
_KEYS = ("uidMappings", "gidMappings")
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def _asks(entry: Table) -> bool:
    return any(entry.get(key) for key in _KEYS) or any(word in WORDS for word in document.texts(entry, "options"))


def _is_bind(entry: Table) -> bool:
    return document.text(entry, "type") == "bind" or bool({"bind", "rbind"} & set(document.texts(entry, "options")))


def check(entry: Table, linux: Table) -> None:
    """Refuse a mount that asks for other owners and cannot have them."""
    if not _asks(entry):
        return
    destination = document.text(entry, "destination")
    if not _is_bind(entry):
        raise Unsupported(f"the mount on {destination} asks for other ids (idmap), which only binds can have")
    given = [key for key in _KEYS if entry.get(key)]
    if len(given) == 1:
        raise InvalidArgument(f"the mount on {destination} has {given[0]} only", hint=f"{' and '.join(_KEYS)} belong together")
    if not given and not any(entry.get("type") == "user" for entry in document.tables(linux, "namespaces")):
        raise InvalidArgument(f"the mount on {destination} asks for the container's ids (idmap), but there is no user namespace")


def make(bundle: PlainBundle) -> dict[int, int]:
    """Return detached mounts, by their numbers in the Spec, of what asks for other owners; the caller closes them.

    Unsupported where the file system, or the caller's rights over it, do not allow it.
    """
    made: dict[int, int] = {}
    try:
        for number, entry in enumerate(document.tables(bundle.config, "mounts")):
            if _asks(entry):
                made[number] = _make(entry, bundle.linux())
    except BaseException:
        for fd in made.values():
            os.close(fd)
        raise
    return made


def _make(entry: Table, linux: Table) -> int:
    destination, words = document.text(entry, "destination"), document.texts(entry, "options")
    user = _user_namespace(entry, linux)
    try:
        tree = mounts.create("bind", document.text(entry, "source"), [word for word in words if word not in WORDS])
        try:
            mounts.show_owners(tree, user, recursive="ridmap" in words)
        except OSError as err:
            os.close(tree)
            if err.errno in _CANNOT or err.errno == errno.EPERM:
                raise Unsupported(
                    f"the mount on {destination} cannot show other ids (idmap): {err.strerror}",
                    hint="the file system must know idmapped mounts and be mounted by root of the same user namespace",
                ) from err
            raise
    except OSError as err:
        raise RuntimeFailure(f"cannot mount {destination} ({document.text(entry, 'source')}): {err.strerror}") from err
    finally:
        os.close(user)
    return tree


def _user_namespace(entry: Table, linux: Table) -> int:
    """Return a user namespace with the mount's mapping, or with the container's when it has none of its own."""
    own = next((space for space in document.tables(linux, "namespaces") if space.get("type") == "user"), {})
    if not entry.get(_KEYS[0]) and (path := document.text(own, "path")):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    source = entry if entry.get(_KEYS[0]) else linux
    pid = namespaces.spawn(_wait, new=syscalls.CLONE_NEWUSER)
    try:
        namespaces.write_id_maps(pid, *(document.id_map(source, key) for key in _KEYS))
        return namespaces.open_namespace(pid, "user")
    except OSError as err:
        raise InvalidArgument(f"the id mappings of the mount on {document.text(entry, 'destination')} cannot be: {err.strerror}") from err
    finally:
        processes.kill_and_reap(pid)


def _wait() -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pause()

"""Where a volume's files are, and making them so: the mount that its options ask for is made on first use, and goes with the volume.

Docker's daemon mounts while a container has the volume. Here nobody is there to take the mount away with the last one, so it stays until
the volume is removed or the machine restarts: what is in memory outlives its containers by that. An ordinary user cannot mount for several
containers: what shall be in memory lies in a directory of a memory file system instead, without a limit of its own.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.volume_options import Backing, backing
from notebook_containers.errors import InvalidArgument, RuntimeFailure, Unsupported
from notebook_containers.linux import mounts, syscalls
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.store.volumes import Volume

_LIMITS = ("size", "nr_inodes", "nr_blocks", "huge")
_NETWORK = ("nfs", "nfs4", "cifs", "smb3")


def users(parts: Parts, name: str) -> Sequence[str]:
    """Return the names of the containers that have this volume."""
    return all_users(parts).get(name, ())


def all_users(parts: Parts) -> Mapping[str, Sequence[str]]:
    """Return the names of the containers that have each volume that any has."""
    found: dict[str, list[str]] = {}
    for row in parts.store.records.containers():
        document = ContainerDocument.from_json(untrusted_json(row.document.encode(), what="container record"))
        for volume in dict.fromkeys(mount.volume for mount in document.mounts if mount.volume):
            found.setdefault(volume, []).append(row.name)
    return found


def place(parts: Parts, volume: Volume) -> Path:
    """Return the directory of this machine that has the volume's files once it is :func:`ready`."""
    found = backing(volume.options)
    if found.kind == "bind":
        return Path(found.device)
    if found.in_memory and parts.host.rootless:
        return _memory_place(parts, volume.name)
    return volume.path


def check(parts: Parts, options: Backing) -> None:
    """Raise Unsupported for a file system that this caller or kernel cannot mount."""
    if options.kind != "mounted":
        return
    if parts.host.rootless:
        if not options.in_memory:
            hint = "use -o type=none -o o=bind -o device=/directory where it is mounted already"
            raise Unsupported(f"a volume of type {options.type} needs root: an ordinary user cannot mount it", hint=hint)
        return
    try:
        os.close(syscalls.fsopen(options.type))
    except OSError as err:
        if err.errno == errno.ENODEV:
            raise Unsupported(
                f"this kernel has no file system {options.type}, so no volume can be of that type",
                hint=f"load it (modprobe {options.type}), or mount it elsewhere and bind that directory",
            ) from err
        raise Unsupported(f"a volume of type {options.type} cannot be mounted here: {(err.strerror or str(err)).lower()}") from err


def notes(parts: Parts, volume: Volume) -> Sequence[str]:
    """Return in words what of the volume's options is weaker than it looks here."""
    found = backing(volume.options)
    limits = [word for word in found.words if word.split("=")[0] in _LIMITS]
    if found.in_memory and parts.host.rootless and limits:
        return [f"volume {volume.name}: {limits[0]} is not enforced, an ordinary user's volume in memory is a directory of all its memory"]
    return []


def ready(parts: Parts, volume: Volume) -> Path:
    """Make sure that the files' directory is there and return it; raises InvalidArgument or Unsupported saying what is missing."""
    found = backing(volume.options)
    path = place(parts, volume)
    if found.kind == "bind":
        if not path.is_dir():
            hint = "make it, or remove the volume and create it anew"
            raise InvalidArgument(f"volume {volume.name} is bound to {path}, which is no directory", hint=hint)
    elif found.kind == "mounted" and parts.host.rootless:
        check(parts, found)
        _make_memory(parts, path, found)
    elif found.kind == "mounted":
        with parts.store.disk.lease(), parts.store.disk.turn(f"volume-{_hash(volume.name)}"):
            if not is_mounted(volume.path):
                check(parts, found)
                _mount(volume, found)
    return path


def is_mounted(path: Path) -> bool:
    """Tell whether something is mounted on a volume's own directory."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def release(parts: Parts, volume: Volume) -> None:
    """Take away what :func:`ready` made of a volume that is about to be removed; what a bind names is not touched."""
    found = backing(volume.options)
    if found.kind != "mounted":
        return
    if parts.host.rootless:
        path = place(parts, volume)
        if path.is_dir() and not path.is_symlink():
            parts.store.trees.remove(path)
    elif is_mounted(volume.path):
        syscalls.umount2(os.fspath(volume.path), syscalls.MNT_DETACH)


def _mount(volume: Volume, options: Backing) -> None:
    try:
        tree = mounts.create(options.type, options.device, [*_addressed(options), "nosuid", "nodev"])
        try:
            target = os.open(volume.path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                mounts.attach(tree, target)
            finally:
                os.close(target)
        finally:
            os.close(tree)
    except OSError as err:
        reason = (err.strerror or str(err)).lower()
        hint = "look at its options: nbc volume inspect " + volume.name
        raise RuntimeFailure(f"volume {volume.name} ({options.type} from {options.device}) cannot be mounted: {reason}", hint=hint) from err


def _addressed(options: Backing) -> list[str]:
    """Return the mount options, a network server's name in ``addr=`` as its address: the kernel looks no names up."""
    return [f"addr={_address(word[5:])}" if word.startswith("addr=") and options.type in _NETWORK else word for word in options.words]


def _address(name: str) -> str:
    import socket

    try:
        return str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as err:
        raise InvalidArgument(f"the volume's server {name!r} has no address: {(err.strerror or str(err)).lower()}") from err


# an ordinary user's volumes in memory


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _memory_place(parts: Parts, name: str) -> Path:
    from notebook_containers.engine import memory

    identity = _hash(f"{parts.root}\0{name}")
    return memory.lasting_directory(parts.run) / f"nbc-volume-{os.geteuid()}-{identity}"


def _make_memory(parts: Parts, path: Path, options: Backing) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or not _is_ours(parts, status.st_uid):
            raise RuntimeFailure(f"{path} is not ours, so no volume in memory can lie there", hint="ask its owner to remove it") from None
        return
    values = dict(word.split("=", 1) for word in options.words if "=" in word)
    owner = (int(values.get("uid", "0")), int(values.get("gid", "0")))
    parts.store.trees.give(path, (int(values.get("mode", "1777"), 8), *owner))


def _is_ours(parts: Parts, uid: int) -> bool:
    """Tell whether a user id of the host is one that an ordinary user's volumes may belong to."""
    lines = parts.host.maps.uids if parts.host.maps is not None else ()
    return any(first <= uid < first + count for _inside, first, count in lines)

"""Mounts that the monitor makes for a container whose root is nobody it is itself (``--userns auto``).

Such an init reaches no private directory of the host, and may not give a mount other ids. So one process of the monitor makes them in a
mount namespace that ends with it, and sends them to init as descriptors: the root over layers that show their owners as the container's
ids (idmapped mounts, mount_setattr(2); on the disk the owners stay those of the image), and every bind. Binds with the word ``idmap`` show
their owners so too, others the host's, which are nobody inside.
"""

from __future__ import annotations

import errno
import os
import posixpath
import socket

from notebook_containers.errors import RuntimeFailure, Unsupported
from notebook_containers.linux import mounts, namespaces, process as processes, syscalls
from notebook_containers.runtime import document
from notebook_containers.runtime.document import PlainBundle, Table

ROOT = -1
"""The number under which the root is sent; the others are sent under their numbers in the Spec."""

IDMAP = "idmap"
_LOWER = ("lowerdir", "lowerdir+")
_MOST = 200  # layers and binds: each is a descriptor


def send(bundle: PlainBundle, pid: int, channel: socket.socket) -> None:
    """Send the mounts of a container to its init ``pid``; Unsupported where the kernel or a file system has no idmapped mounts."""
    user = namespaces.open_namespace(pid, "user")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    maker = os.fork()
    if maker == 0:
        _make(bundle, user, channel, writing)
    os.close(writing)
    os.close(user)
    with open(reading, "rb") as file:
        number, _, said = file.read().decode(errors="replace").partition(" ")
    status = os.waitpid(maker, 0)[1]
    if number and int(number) in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        hint = "Linux 5.19 and a file system with idmapped mounts are needed (ext4, xfs, btrfs); else leave --userns out"
        raise Unsupported(f"--userns auto: the owners of files cannot be shown as the container's ids: {said}", hint=hint)
    if status or number:
        raise RuntimeFailure(f"cannot make the container's mounts: {said or 'the process that makes them died'}")


def _make(bundle: PlainBundle, user: int, channel: socket.socket, writing: int) -> None:
    """Make and send everything, in a process of its own; never returns."""
    try:
        processes.keep_only([user, channel.fileno(), writing])
        syscalls.unshare(syscalls.CLONE_NEWNS)
        for number, tree in _binds(list(document.tables(bundle.config, "mounts")), user):
            _send(channel, number, tree)
        syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        place = os.path.join(bundle.path, document.text(document.table(bundle.config, "root"), "path", "rootfs"))
        linux = bundle.linux()
        _send(channel, ROOT, _root(bundle.root_mounts, place, user, [_first(linux, "uidMappings"), _first(linux, "gidMappings")]))
    except OSError as err:
        os.write(writing, f"{err.errno or 5} {err.filename or ''} {err.strerror}".encode()[:4000])
    except BaseException as err:
        os.write(writing, f"5 {type(err).__name__}: {err}".encode()[:4000])
    finally:
        os._exit(0)


def _send(channel: socket.socket, number: int, tree: int) -> None:
    processes.send_fds(channel, f"m{number}".encode(), [tree])
    os.close(tree)


def _binds(entries: list[Table], user: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number, entry in enumerate(entries):
        words = document.texts(entry, "options")
        if document.text(entry, "type") != "bind" and not {"bind", "rbind"} & set(words):
            continue
        if len(found) >= _MOST:
            raise OSError(errno.EMFILE, f"more than {_MOST} binds", "mounts")
        source = document.text(entry, "source")
        try:
            tree = mounts.create("bind", source, [word for word in words if word != IDMAP])
            if IDMAP in words:
                mounts.show_owners(tree, user)
        except OSError as err:
            raise OSError(err.errno, err.strerror, source) from err
        found.append((number, tree))
    return found


def _first(linux: Table, key: str) -> int:
    """Return what the container's root is outside."""
    lines = document.tables(linux, key)
    return next(document.number(line, "hostID") for line in lines if document.number(line, "containerID") == 0)


def _root(entries: list[Table], place: str, user: int, owner: list[int]) -> int:
    entry = entries[0]
    words = document.texts(entry, "options")
    if document.text(entry, "type") != "overlay":
        tree = mounts.create("bind", document.text(entry, "source"), words)
        mounts.show_owners(tree, user)
        return tree
    desk = mounts.create("tmpfs", "tmpfs", ["mode=700", "size=1m"])
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    mounts.attach(desk, target)
    os.close(target)
    options = _moved(words, desk, place, user)
    # overlayfs works in the upper layer as who mounted it: there nobody exists but the container's ids, and it must keep its rights
    syscalls.prctl(syscalls.PR_SET_SECUREBITS, syscalls.SECBIT_NO_SETUID_FIXUP)
    os.setresgid(owner[1], owner[1], owner[1])
    os.setresuid(owner[0], owner[0], owner[0])
    return mounts.create("overlay", document.text(entry, "source"), options)


def _moved(words: list[str], desk: int, place: str, user: int) -> list[str]:
    """Return overlay's words with each directory replaced by an idmapped mount of it below ``place``; upper and work are one mount."""
    lowers = [path for word in words if word.split("=")[0] in _LOWER for path in mounts.split_paths(word.partition("=")[2])]
    pairs = dict(word.split("=", 1) for word in words if word.startswith(("upperdir=", "workdir=")))
    own = {key: mounts.split_paths(path)[0] for key, path in pairs.items()}
    found = [word for word in words if word.split("=")[0] not in (*_LOWER, *own)]
    for number, path in enumerate(lowers):
        _show(path, desk, str(number), user)
        found.append(f"lowerdir+={place}/{number}")
    if own:
        top = posixpath.commonpath(own.values())
        _show(top, desk, "own", user)
        found += [f"{key}={place}/own/{posixpath.relpath(path, top)}" for key, path in own.items()]
    return found


def _show(path: str, desk: int, name: str, user: int) -> None:
    tree = mounts.create("bind", path, ["bind"])
    try:
        mounts.show_owners(tree, user)
    except OSError as err:
        raise OSError(err.errno, err.strerror, path) from err
    os.mkdir(name, 0o700, dir_fd=desk)
    target = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=desk)
    mounts.attach(tree, target)
    os.close(target)
    os.close(tree)

"""Removing trees that strangers filled: by descriptors, never through a symlink, never across a mount (openat2 RESOLVE_NO_XDEV)."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from notebook_containers.linux import syscalls

_INSIDE = syscalls.RESOLVE_NO_XDEV | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_BENEATH
_DEEP = 64


def remove_tree(path: Path) -> None:
    """Unlink a file or a whole tree; what vanishes meanwhile is fine, so several removers may meet.

    Raises OSError: EXDEV when something is mounted inside (its contents are not touched), EACCES when the tree belongs to others.
    Trees deeper than 64 levels are flattened by moving the rest beside ``path``, so depth costs neither descriptors nor stack.
    """
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        pending = [path.name]
        while pending:
            _remove(parent, pending.pop(), parent, pending, _DEEP)
    finally:
        os.close(parent)


def _remove(directory: int, name: str, top: int, pending: list[str], left: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass  # unlink(2) of a directory is EISDIR on Linux, EPERM elsewhere and in POSIX
    if left == 0:
        moved = secrets.token_hex(12)
        os.rename(name, moved, src_dir_fd=directory, dst_dir_fd=top)
        pending.append(moved)
        return
    _empty(directory, name, top, pending, left)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=directory)


def _empty(directory: int, name: str, top: int, pending: list[str], left: int) -> None:
    try:
        fd = _open_inside(directory, name)
    except FileNotFoundError:
        return
    try:
        with os.scandir(fd) as entries:
            names = [entry.name for entry in entries]
        for child in names:
            _remove(fd, child, top, pending, left - 1)
    finally:
        os.close(fd)


def _open_inside(directory: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        fd = syscalls.openat2(directory, name, flags, resolve=_INSIDE)
        if os.fstat(fd).st_mode & 0o700 != 0o700:
            os.fchmod(fd, 0o700)
        return fd
    except PermissionError as err:
        # overlay's work directory has mode 0000, which stops an ordinary user
        if err.errno != errno.EACCES:
            raise
    path_fd = syscalls.openat2(directory, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, resolve=_INSIDE)
    try:
        os.chmod(f"/proc/self/fd/{path_fd}", 0o700)
    finally:
        os.close(path_fd)
    return syscalls.openat2(directory, name, flags, resolve=_INSIDE)

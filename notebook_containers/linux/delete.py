"""Delete a tree that somebody else wrote: any depth, any modes, never across a mount."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from notebook_containers.linux import syscalls

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STAND = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_RESOLVE = syscalls.RESOLVE_NO_XDEV | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_BENEATH


def remove_tree(parent: int, name: str, *, openat2: bool = True) -> None:
    """Delete ``name`` in the directory ``parent`` and all below it; nothing there, or what vanishes meanwhile, is fine.

    Two descriptors at any depth: the way up is ``..``, checked to be the directory we came from. Directories that deny their owner are
    opened up first. OSError EXDEV when something is mounted below: what is mounted there is not touched.
    """
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        _remove_directory(parent, name, openat2)


def _remove_directory(parent: int, name: str, openat2: bool) -> None:
    here = os.open(".", _STAND, dir_fd=parent)
    levels = [("", _identity(here), [name])]  # of each open level: its name, what it is, its directories still to do
    try:
        while True:
            current, _, left = levels[-1]
            if left:
                name = left.pop()
                try:
                    below = _enter(here, name, openat2)
                except FileNotFoundError:
                    continue
                os.close(here)
                here = below
                levels.append((name, _identity(here), _clear_files(here)))
                continue
            levels.pop()
            if not levels:
                return
            above = os.open("..", _STAND, dir_fd=here)
            os.close(here)
            here = above
            if _identity(here) != levels[-1][1]:
                raise OSError(errno.ESTALE, "a directory was moved while its tree was deleted", current)
            with suppress(FileNotFoundError):
                os.rmdir(current, dir_fd=here)
    finally:
        os.close(here)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _enter(directory: int, name: str, openat2: bool) -> int:
    fd = _open_here(directory, name, _OPEN, openat2)
    try:
        if os.fstat(fd).st_mode & 0o700 != 0o700 and os.geteuid() != 0:
            os.fchmod(fd, 0o700)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_here(directory: int, name: str, flags: int, openat2: bool) -> int:
    try:
        if openat2:
            return syscalls.openat2(directory, name, flags, resolve=_RESOLVE)
        return _open_same_mount(directory, name, flags)
    except PermissionError:
        if flags & os.O_PATH:
            raise
    closed = _open_here(directory, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, openat2)
    try:
        os.chmod(f"/proc/self/fd/{closed}", 0o700)
        return os.open(".", _OPEN, dir_fd=closed)
    finally:
        os.close(closed)


def _open_same_mount(directory: int, name: str, flags: int) -> int:
    fd = os.open(name, flags, dir_fd=directory)
    if _mount_id(fd) != _mount_id(directory):
        os.close(fd)
        raise OSError(errno.EXDEV, "something is mounted there", name)
    return fd


def _mount_id(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}") as file:
        return next(line for line in file if line.startswith("mnt_id:"))


def _clear_files(fd: int) -> list[str]:
    directories = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=fd)
    return directories

"""The mount option ``tmpcopyup``: a new tmpfs starts with a copy of what lies under it.

Runs in init before the pivot. The tree is the image's, so nothing in it is named twice and no link is followed. Failures are OSError.
"""

from __future__ import annotations

import os
import stat


def fill(new: int, under: int, *, keep_mode: bool) -> None:
    """Copy the directory ``under`` into the mount ``new`` (descriptors, O_PATH will do), with owners and modes.

    ``keep_mode``: the mount's own root keeps its mode, because an option gave it one.
    """
    source, target = _directory(under, "."), _directory(new, ".")
    try:
        found = os.fstat(source)
        os.fchown(target, found.st_uid, found.st_gid)
        if not keep_mode:
            os.fchmod(target, stat.S_IMODE(found.st_mode))
        _copy(source, target)
    finally:
        os.close(source)
        os.close(target)


def _directory(parent: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _copy(source: int, target: int) -> None:
    for name in os.listdir(source):
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            inner_source, inner_target = _directory(source, name), _directory(target, name)
            try:
                _copy(inner_source, inner_target)
            finally:
                os.close(inner_source)
                os.close(inner_target)
        elif stat.S_ISREG(found.st_mode):
            _copy_file(source, target, name)
        elif stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, found.st_mode, found.st_rdev, dir_fd=target)
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=target)


def _copy_file(source: int, target: int, name: str) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        while data := os.read(reading, 1 << 20):
            os.write(writing, data)
    finally:
        os.close(reading)
        os.close(writing)

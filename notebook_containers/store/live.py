"""Reading a directory that others write to meanwhile, such as a volume's: a file is looked at before it is opened."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from notebook_containers.linux.paths import SafeRoot

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def read(directory: Path, path: str, max_bytes: int) -> bytes:
    """Return a regular file's bytes; OSError: ENOENT, EISDIR or EINVAL for what is none (it is not opened), EFBIG when it is longer."""
    with SafeRoot.at(directory, follow=True) as root:
        found = root.open(path, os.O_PATH)
        try:
            status = os.fstat(found)
            if not stat.S_ISREG(status.st_mode):
                number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
                raise OSError(number, "is a directory" if number == errno.EISDIR else "is not a regular file", path)
            if status.st_size > max_bytes:
                raise OSError(errno.EFBIG, f"more than {max_bytes} bytes", path)
            with os.fdopen(os.open(f"/proc/self/fd/{found}", _READ), "rb") as file:
                data = file.read(max_bytes + 1)
        finally:
            os.close(found)
    if len(data) > max_bytes:  # it grew meanwhile
        raise OSError(errno.EFBIG, f"more than {max_bytes} bytes", path)
    return data


def names(directory: Path, path: str) -> list[str]:
    """Return the names in a directory, sorted; OSError when it is none."""
    with SafeRoot.at(directory, follow=True) as root:
        found = root.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(found))
        finally:
            os.close(found)


def own(directory: Path, uid: int, gid: int) -> None:
    """Give everything in a directory, and itself, to an owner; no link is followed and no mount is crossed."""
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        device = os.fstat(top).st_dev
        os.fchown(top, uid, gid)
        for _path, below, files, fd in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            below[:] = [name for name in below if _device(fd, name) == device]
            for name in (*below, *files):
                with suppress(FileNotFoundError):
                    os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
    finally:
        os.close(top)


def _device(directory: int, name: str) -> int:
    with suppress(FileNotFoundError):
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_dev
    return -1

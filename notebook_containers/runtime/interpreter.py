"""The interpreter that runs beside containers: this one, by an image that nobody can write to, with nothing of the caller around it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import time

import notebook_containers
from notebook_containers.linux import syscalls

_SEAL_TRIES, _SEAL_WAIT_S = 250, 0.02
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def directory() -> str:
    """Return the directory that this package is imported from."""
    return os.path.dirname(os.path.dirname(os.path.abspath(notebook_containers.__file__)))


def become(request: dict[str, object], preserved: int) -> None:
    """Replace this process by the low-level runtime's (:mod:`~notebook_containers.runtime.ocimain`); never returns.

    Pid, parent and standard streams stay; ``preserved`` descriptors from 3 on stay open.
    """
    code = f"import sys; sys.path.insert(0, {directory()!r}); from notebook_containers.runtime.ocimain import main; main(sys.argv[1])"
    image = unwritable(sys.executable)
    for fd in range(3, 3 + preserved):
        os.set_inheritable(fd, True)
    os.execve(image, [sys.executable, "-I", "-S", "-E", "-c", code, json.dumps(request)], ENVIRONMENT)  # noqa: S606 it becomes that


def unwritable(program: str) -> int:
    """Return a descriptor of ``program`` that nobody can ever write through: a container's command may be a link to /proc/self/exe.

    What the kernel then executes is this very file, and its /proc/<pid>/exe could be opened for writing by the container's root
    (CVE-2019-5736). As root it is a read-only mount of the file, else a sealed copy in memory.
    """
    try:
        tree = syscalls.open_tree(syscalls.AT_FDCWD, os.path.realpath(program), syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC)
        syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, set_=syscalls.MOUNT_ATTR_RDONLY)
    except OSError:
        return _sealed_copy(program)
    return tree


def _sealed_copy(program: str) -> int:
    copy = os.memfd_create("python", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(program, "rb") as source:
        left = os.fstat(source.fileno()).st_size
        while left > 0:
            left -= os.sendfile(copy, source.fileno(), None, left)
    _seal(copy)
    return copy


def _seal(fd: int) -> None:
    """Let nobody write to it any more. On a busy machine the kernel may hold pages of it for a moment longer, and says EBUSY so long."""
    for _ in range(_SEAL_TRIES):
        try:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
        except OSError as err:
            if err.errno != errno.EBUSY:
                raise
            time.sleep(_SEAL_WAIT_S)
        else:
            return
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), "a sealed copy of the interpreter")

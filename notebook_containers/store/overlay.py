"""Overlay mounts that have no place in the tree: only whoever holds the descriptor sees them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from notebook_containers.linux import syscalls


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Directories to mount as one: ``lowers`` bottom first, and a writable ``upper`` with its ``work``, or neither."""

    lowers: tuple[Path, ...]
    upper: Path | None = None
    work: Path | None = None


@contextmanager
def mounted(stack: Stack, *, userxattr: bool) -> Iterator[int]:
    """Yield a descriptor of the merged root; the mount is gone when it is closed. OSError when the kernel refuses.

    With an upper directory the mount is volatile: it is not forced to the disk when it goes (a commit does that).
    """
    alone = (stack.upper or stack.lowers[0]) if len(stack.lowers) + bool(stack.upper) == 1 else None  # nothing to merge
    fd = os.open(alone, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if alone else _mount(stack, userxattr)
    try:
        yield fd
    finally:
        os.close(fd)


def _mount(stack: Stack, userxattr: bool) -> int:
    with ExitStack() as opened:

        def short(path: Path) -> str:
            # fsconfig takes 255 bytes of text, which a path may exceed
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, fd)
            return f"/proc/self/fd/{fd}"

        context = syscalls.fsopen("overlay")
        opened.callback(os.close, context)
        _set_lowers(context, [short(path) for path in reversed(stack.lowers)])
        options = {"metacopy": "off", "redirect_dir": "nofollow", "index": "off"}
        if stack.upper is not None and stack.work is not None:
            options |= {"upperdir": short(stack.upper), "workdir": short(stack.work)}
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, "volatile")
        for key, value in options.items():
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key, value)
        if userxattr:
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, "userxattr")
        _create(context)
        attributes = syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC
        return syscalls.fsmount(context, attributes | (0 if stack.upper else syscalls.MOUNT_ATTR_RDONLY))


def _create(context: int) -> None:
    try:
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
    except OSError as err:
        raise OSError(err.errno, f"{err.strerror}{_reasons(context)}") from err


def _reasons(context: int) -> str:
    """Return what the kernel says in words, which it keeps in the context (fsopen(2))."""
    lines = []
    try:
        while line := os.read(context, 4096):
            lines.append(line.decode(errors="replace").strip())
    except OSError:
        pass  # ENODATA: no more lines
    return "".join(f" ({line.partition(' ')[2] or line})" for line in lines)


def _set_lowers(context: int, paths: list[str]) -> None:
    try:
        for path in paths:
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, "lowerdir+", path)
    except OSError as err:
        if err.errno != errno.EINVAL:
            raise
        # before Linux 6.5: one text, at most 255 bytes
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, "lowerdir", ":".join(paths))

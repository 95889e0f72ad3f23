"""Overlay mounts of many layers before Linux 6.5, where each layer cannot yet be given by a call of its own.

There all options are one text of at most a page, and fsconfig(2) takes 255 bytes: neither holds many paths. So layers are named by
descriptors (``/proc/self/fd/9``: two hundred fit), and mount(2) takes the text. It needs a place in the tree: a thread with a mount
name space of its own has one that nobody sees, and hands out a detached copy.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache

from notebook_containers.linux import syscalls

_PATHS = ("upperdir", "workdir")


@cache
def needed() -> bool:
    """Say whether this kernel lacks ``lowerdir+``."""
    major, minor = (int("".join(filter(str.isdigit, part)) or 0) for part in os.uname().release.split(".")[:2])
    return (major, minor) < (6, 5)


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part option words into the layers' paths, top first, and the rest."""
    from notebook_containers.linux.mounts import split_paths

    lowers: list[str] = []
    others: list[str] = []
    for word in words:
        key, _, value = word.partition("=")
        if key in ("lowerdir", "lowerdir+"):
            lowers += split_paths(value) if key == "lowerdir" else [value]
        else:
            others.append(word)
    return lowers, others


def create(lowers: Sequence[str], words: Sequence[str], flags: int) -> int:
    """Return a detached overlay mount: ``lowers`` top first, ``words`` the other options, ``flags`` those of mount(2)."""
    return _in_thread(lambda: _create(lowers, words, flags))


def _create(lowers: Sequence[str], words: Sequence[str], flags: int) -> int:
    # first the name space, then the descriptors: overlayfs takes only what lies in the name space of the caller
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    with ExitStack() as opened:

        def short(path: str) -> str:
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, fd)
            return f"/proc/self/fd/{fd}"

        options = ["lowerdir=" + ":".join(short(path) for path in lowers)]
        for word in words:
            key, equals, value = word.partition("=")
            options.append(f"{key}={short(value)}" if equals and key in _PATHS else word)
        syscalls.mount("overlay", lowers[0], "overlay", flags, ",".join(options))
        return syscalls.open_tree(syscalls.AT_FDCWD, lowers[0], syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC)


def _in_thread(work: Callable[[], int]) -> int:
    result: list[int] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as err:
            failure.append(err)

    thread = threading.Thread(target=run, name="nbc-overlay")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]

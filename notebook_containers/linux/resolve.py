"""Path resolution below a descriptor without openat2: one component at a time, for kernels before 5.6 and filters that forbid it.

The stack of descriptors is the position: ``..`` goes back on it, never up in the real tree, so a directory moved away meanwhile cannot
lead outside. Every component is opened with O_NOFOLLOW and links are read from the very descriptor that was opened.
"""

from __future__ import annotations

import errno
import os
import stat

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40


def walk_open(root: int, path: str, flags: int, mode: int, *, follow: bool) -> int:
    """Open ``path`` below ``root`` as openat2 does with BENEATH|NO_SYMLINKS, or with IN_ROOT|NO_MAGICLINKS when ``follow``."""
    walker = _Walker(root, path, follow)
    try:
        return walker.open(flags | os.O_CLOEXEC, mode)
    finally:
        walker.close()


class _Walker:
    def __init__(self, root: int, path: str, follow: bool) -> None:
        self.root, self.path, self.follow, self.links = root, path, follow, 0
        self.stack: list[int] = []
        self.todo = path.split("/")[::-1]

    def close(self) -> None:
        while self.stack:
            os.close(self.stack.pop())

    @property
    def here(self) -> int:
        return self.stack[-1] if self.stack else self.root

    def open(self, flags: int, mode: int) -> int:
        while True:
            name = self.todo.pop()
            last = not any(part not in ("", ".") for part in self.todo)
            if name in ("", ".", ".."):
                self._dots(name)
                if last:
                    return os.open(".", flags & ~(os.O_CREAT | os.O_EXCL), dir_fd=self.here)
            elif last and not self._is_followed(name, flags):
                needs_directory = os.O_DIRECTORY if self.todo else 0  # a trailing slash
                return os.open(name, flags | needs_directory | os.O_NOFOLLOW, mode, dir_fd=self.here)
            else:
                self._step(name)

    def _dots(self, name: str) -> None:
        if name != "..":
            return
        if self.stack:
            os.close(self.stack.pop())
        elif not self.follow:
            raise OSError(errno.EXDEV, "the path leaves its root", self.path)

    def _is_followed(self, name: str, flags: int) -> bool:
        """Say whether the last component is a link to go through; raises ELOOP where links are forbidden."""
        exclusive = flags & (os.O_CREAT | os.O_EXCL) == os.O_CREAT | os.O_EXCL
        if exclusive or (flags & os.O_NOFOLLOW and flags & os.O_PATH and not self.todo):
            return False
        try:
            status = os.stat(name, dir_fd=self.here, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not stat.S_ISLNK(status.st_mode):
            return False
        if not self.follow or flags & os.O_NOFOLLOW:
            raise OSError(errno.ELOOP, "a symbolic link is in the way", self.path)
        return True

    def _step(self, name: str) -> None:
        fd = os.open(name, _STEP, dir_fd=self.here)
        kind = os.fstat(fd).st_mode
        if stat.S_ISDIR(kind):
            self.stack.append(fd)
            return
        try:
            if not stat.S_ISLNK(kind):
                raise OSError(errno.ENOTDIR, "not a directory", self.path)
            target = os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
        self._expand(target)

    def _expand(self, target: str) -> None:
        self.links += 1
        if not self.follow or self.links > _MAX_LINKS:
            raise OSError(errno.ELOOP, "a symbolic link is in the way", self.path)
        if target.startswith("/"):
            self.close()
        self.todo.extend(target.split("/")[::-1])
